"""What a checkpoint says of itself before it is loaded: how many numbers its weights are, and under which licence."""

import math
import re
from pathlib import Path

BESIDE_WEIGHTS = frozenset({"monotonic.safetensors", "text.safetensors", "transducer.safetensors"})
"""Tensors in a model's folder that are made for its weights and no part of them."""
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
"""A number in memory, by dtype. Of int8 this is the least: what is not rounded, embeddings above all, takes more."""
_LICENCE = re.compile(r"^license:\s*[\"']?([A-Za-z0-9.+-]{1,40})", re.MULTILINE)


def parameters_m(directory: Path) -> float:
    """Millions of numbers in the safetensors files of a folder, from their headers; 0 where they cannot be read."""
    from safetensors import SafetensorError, safe_open

    total = 0
    try:
        for path in sorted(directory.glob("*.safetensors")):
            if path.name in BESIDE_WEIGHTS:
                continue
            with safe_open(path, framework="numpy") as file:
                total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
    except (OSError, SafetensorError):  # loading it will say so
        return 0.0
    return round(total / 1e6, 1)


def licence(directory: Path) -> str:
    """The licence in the head of a folder's README.md, as the hub has it (`apache-2.0`); "" where there is none."""
    card = directory / "README.md"
    if not card.is_file():
        return ""
    with card.open(encoding="utf-8", errors="replace") as file:
        text = file.read(20_000)
    head = text.split("\n---", 1)[0] if text.startswith("---") else ""
    found = _LICENCE.search(head)
    return found[1] if found else ""


def memory_mb(millions: float) -> dict[str, int]:
    """Megabytes of so many million numbers, by dtype."""
    return {dtype: round(millions * size) for dtype, size in BYTES.items()}
