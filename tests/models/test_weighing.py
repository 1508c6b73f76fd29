"""What a folder of weights says before it is loaded: numbers, memory, licence; nothing where it lies."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from simulst.models.weighing import licence, memory_mb, parameters_m


def test_numbers_are_counted_over_all_files_but_what_was_made_for_them(tmp_path: Path) -> None:
    save_file({"a": np.zeros((1000, 1500), np.float16)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": np.zeros(700_000, np.float32)}, tmp_path / "model-00002-of-00002.safetensors")
    save_file({"c": np.zeros(900_000, np.float32)}, tmp_path / "monotonic.safetensors")
    assert parameters_m(tmp_path) == 2.2
    assert memory_mb(19.0) == {"float32": 76, "bfloat16": 38, "int8": 19}


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_file_that_is_none_counts_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert parameters_m(tmp_path) == 0.0
    assert parameters_m(tmp_path / "nowhere") == 0.0


@pytest.mark.parametrize(
    ("card", "found"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model", "apache-2.0"),
        ("---\nlicense: 'cc-by-4.0'\n---\n", "cc-by-4.0"),
        ("---\nlicense: \x1b[2Jmit\n---\n", ""),
        ("---\ntags: [a]\n---\nlicense: mit", ""),
        ("# No head\nlicense: mit\n", ""),
    ],
)
def test_the_licence_is_that_of_the_head(tmp_path: Path, card: str, found: str) -> None:
    assert licence(tmp_path) == ""
    (tmp_path / "README.md").write_text(card)
    assert licence(tmp_path) == found


def test_the_command_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    from simulst.cli import run

    assert run(["models", "tiny-en-de", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights_mb"] == {"float32": 76, "bfloat16": 38, "int8": 19}
    assert run(["models", "tiny-en-de"]) == 0
    assert "76 MB float32, 38 MB bfloat16, from 19 MB int8" in " ".join(capsys.readouterr().out.split())
