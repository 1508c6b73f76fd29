"""The table of several runs: one row each, every metric that all of them have."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulst.eval.runner import Result


def write_sweep(path: Path, results: "Sequence[Result]") -> None:
    """Tab-separated, metrics in the order of the first run."""
    names = [name for name in results[0].scores if all(name in result.scores for result in results)]
    lines = ["\t".join(["run", "failed", *names])]
    for result in results:
        values = [f"{result.scores[name]:.6f}" for name in names]
        lines.append("\t".join([result.folder.name, str(len(result.failed)), *values]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
