"""Tables of several runs: one row each with every metric that all of them have, and the runs that could not be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simulst.eval.logs.instances import read_text
from simulst.outputs import write_text

if TYPE_CHECKING:
    from simulst.eval.run import Result

REFUSED = "refused.tsv"


def write_sweep(path: Path, results: "Sequence[Result]") -> None:
    """Tab-separated, metrics in the order of the first run."""
    names = [name for name in results[0].scores if all(name in result.scores for result in results)]
    lines = ["\t".join(["run", "failed", *names])]
    for result in results:
        values = [f"{result.scores[name]:.6f}" for name in names]
        lines.append("\t".join([result.folder.name, str(len(result.failed)), *values]))
    write_text(path, "\n".join(lines) + "\n")


def write_refused(folder: Path, refused: Mapping[str, str]) -> None:
    """Names of runs whose policy the model cannot run, with the reason; no file where there are none."""
    path = folder / REFUSED
    if refused:
        write_text(path, "".join(f"{name}\t{reason}\n" for name, reason in refused.items()))
    else:
        path.unlink(missing_ok=True)


def read_refused(folder: Path) -> dict[str, str]:
    """What `write_refused` wrote."""
    path = folder / REFUSED
    if not path.is_file():
        return {}
    rows = [line.partition("\t") for line in read_text(path).splitlines()]
    return {name: reason for name, _, reason in rows}
