"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulst.bundled import bundled_path
from simulst.defaults import DEFAULT_BOOST as DEFAULT_BOOST
from simulst.defaults import DEFAULT_MODEL as DEFAULT_MODEL
from simulst.defaults import DEFAULT_POLICY as DEFAULT_POLICY
from simulst.defaults import DTYPE_FOR_PEOPLE as DTYPE_FOR_PEOPLE
from simulst.defaults import MODEL_FOR_PEOPLE as MODEL_FOR_PEOPLE

if TYPE_CHECKING:
    from simulst.core.glossary import Glossary as Favoured

BUNDLED = (MODEL_FOR_PEOPLE, DEFAULT_MODEL)

Model = Annotated[
    str,
    typer.Option("--model", "-m", help="Name, local directory or hub name; see `simulst models`.", metavar="NAME|DIR"),
]
UsualModel = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help=f"Name, local directory or hub name; see `simulst models`. Without it {MODEL_FOR_PEOPLE}, or "
        f"{DEFAULT_MODEL} where the policy or a setting needs that.",
        metavar="NAME|DIR",
    ),
]
Policy = Annotated[
    str, typer.Option("--policy", "-p", help="Name or preset; see `simulst policies`.", metavar="NAME|FILE.toml")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Policy parameter, history key or model option; repeatable.", metavar="KEY=VALUE"),
]
ChunkMs = Annotated[int | None, typer.Option(help="Audio per decision, in ms (default: the policy's).", metavar="N")]
Caption = Annotated[
    list[str] | None,
    typer.Option(help="Captions too: teams=URL, zoom=URL, webhook=URL, hls=DIR; repeatable.", metavar="KIND=WHERE"),
]
Glossary = Annotated[
    Path | None,
    typer.Option(parser=bundled_path, help="Terms to favour, SOURCE<TAB>TARGET on each line.", metavar="FILE"),
]
GlossaryBoost = Annotated[
    float, typer.Option(min=0, max=100, help="What is added to the logits of their tokens.", metavar="N")
]
Terms = Annotated[
    Path | None,
    typer.Option(parser=bundled_path, help="Terms for TERM_ACC, SOURCE<TAB>TARGET on each line.", metavar="FILE"),
]
Device = Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1.", metavar="NAME")]
Dtype = Annotated[
    str | None,
    typer.Option(help="float32 (default), bfloat16, float16, int8, int4, auto: what is quick there.", metavar="NAME"),
]
UsualDtype = Annotated[
    str | None,
    typer.Option(
        help=f"float32 (default), bfloat16, float16, int8, int4, auto: what is quick there ({DTYPE_FOR_PEOPLE} without "
        "--model).",
        metavar="NAME",
    ),
]
Dataset = Annotated[
    str,
    typer.Option("--dataset", help="Kind of test set (default: detected).", metavar="NAME|FILE.py:Class"),
]
Metric = Annotated[
    list[str] | None,
    typer.Option("--metric", help="A metric of your own, scored with the others; repeatable.", metavar="FILE.py:NAME"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def glossary_of(path: Path | None, boost: float) -> "Favoured | None":
    """The terms of --glossary; GlossaryError where the file cannot be used."""
    from simulst.core.glossary import read_glossary

    return None if path is None else read_glossary(path, boost=boost)
