"""`simulst models`: what can translate, its options, and the policies it works with."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from simulst.cli import options

if TYPE_CHECKING:
    from simulst.core.translator import ModelInfo


def models(
    name: Annotated[str | None, typer.Argument(help="Show one model (name, directory or hub name).")] = None,
    json_: options.Json = False,
) -> None:
    """List the models with their languages, options, what they provide, and the policies that fit."""
    from simulst.models import describe_model, describe_models

    found = [describe_model(name)] if name else describe_models()
    if json_:
        documents = [_document(info) for info in found]
        print(json.dumps(documents[0] if name else documents, ensure_ascii=False, indent=2))
        return
    for info in found:
        _print(info)
    if not name:
        _print_families()
    print(
        "Any local directory or hub name (owner/name) of a supported architecture works as --model too, and so does a "
        "model family of your own: file.py:FAMILY."
    )


def _print_families() -> None:
    """Every family: the checkpoints it reads, what they provide, and one to try."""
    from rich.console import Console
    from rich.text import Text

    from simulst.models import describe_families

    console = Console()
    for one in describe_families():
        console.print(Text(one.name, style="bold").append("  family of models", style="not bold"))
        reads = ", ".join(one.kinds) or "a server of completions"
        for title, value in (("reads", reads), ("provides", ", ".join(sorted(one.provides))), ("try", one.hub)):
            console.print(Text(f"{title:>11}  ", style="dim").append(value, style="default"))
        console.print()


def _fitting(info: "ModelInfo") -> list[str]:
    from simulst.policies import POLICIES, load_policy

    return [name for name in POLICIES if load_policy(name).policy.needs() <= info.provides]


def _document(info: "ModelInfo") -> dict[str, object]:
    from simulst.models.weighing import memory_mb

    weights = memory_mb(info.parameters_m) if info.parameters_m else None
    provides = sorted(info.provides)
    return {**dataclasses.asdict(info), "weights_mb": weights, "provides": provides, "policies": _fitting(info)}


def _print(info: "ModelInfo") -> None:
    from rich.console import Console
    from rich.text import Text

    from simulst.models.weighing import memory_mb

    console = Console()
    memory = memory_mb(info.parameters_m).items()
    sizes = ", ".join(f"{'from ' * (dtype == 'int8')}{number} MB {dtype}" for dtype, number in memory)
    weights = f"{info.parameters_m:g}M parameters: {sizes}" if info.parameters_m else ""
    console.print(Text(info.name, style="bold").append(f"  {info.description}", style="not bold"))
    languages = f"{info.source} -> {info.target}" if info.source else ""
    for title, value in (
        ("languages", languages),
        ("weights", weights),
        ("licence", info.licence),
        ("provides", ", ".join(sorted(info.provides))),
        ("policies", ", ".join(_fitting(info))),
    ):
        if value:
            console.print(Text(f"{title:>11}  ", style="dim").append(value, style="default"))
    for option, meaning in info.options.items():
        console.print(Text(f"  --set {option}: ", style="cyan").append(meaning, style="default"))
    console.print()
