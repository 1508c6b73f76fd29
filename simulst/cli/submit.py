"""`simulst submit OUT... --output DIR`: evaluations as a folder for IWSLT's shared task."""

from pathlib import Path
from typing import Annotated

import typer

from simulst.errors import SimulstError


def submit(
    runs: Annotated[
        list[Path], typer.Argument(help="Finished evaluations of whole recordings.", metavar="OUT...", min=1)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must not exist.", metavar="DIR")],
    system: Annotated[str, typer.Option(help="Name of the system, for the README.", metavar="NAME")] = "simulst",
) -> None:
    """Pack evaluations of one test set: logs by regime of latency (LongYAAL to 2 s, to 4 s), README, Containerfile.

    The first run that is named in a regime is its primary one. The folder appears whole or not at all.
    """
    from simulst.eval.report.submission import LATENCY, pack

    if not system.strip() or not system.isprintable() or len(system) > 200:
        raise SimulstError("--system must be a name of 1 to 200 printable characters.")
    for entry in pack(runs, output, system=system.strip()):
        kind = "primary" if entry.primary else "contrastive"
        print(f"{output / entry.folder}  {LATENCY} {entry.run.scores[LATENCY] / 1000:.2f} s  {kind}")
    print(output / "README.md")
