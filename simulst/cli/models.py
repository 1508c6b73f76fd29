"""`simulst models`: what can translate, its options, and the policies it works with."""

import dataclasses
import json
from typing import Annotated, Any

import typer

from simulst.cli import options


def models(
    name: Annotated[str | None, typer.Argument(help="Show one model (name, directory or hub name).")] = None,
    json_: options.Json = False,
) -> None:
    """List the models with their languages, options, what they provide, and the policies that fit."""
    from simulst.models import describe_model, describe_models

    found = [_describe(info) for info in ([describe_model(name)] if name else describe_models())]
    if json_:
        print(json.dumps(found[0] if name else found, ensure_ascii=False, indent=2))
        return
    for one in found:
        _print(one)
    print(
        "Any local directory or hub name (owner/name) of a supported architecture works as --model too, and so does a "
        "model family of your own: file.py:FAMILY."
    )


def _describe(info: Any) -> dict[str, Any]:
    from simulst.policies import POLICIES, load_policy

    fitting = [name for name in POLICIES if load_policy(name).policy.needs() <= info.provides]
    return {**dataclasses.asdict(info), "provides": sorted(info.provides), "policies": fitting}


def _print(one: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    size = f"  {one['parameters_m']:g}M parameters" if one["parameters_m"] else ""
    console.print(Text(one["name"], style="bold").append(f"  {one['description']}", style="not bold"))
    languages = f"{one['source']} -> {one['target']}" if one["source"] else ""
    for title, value in (
        ("languages", languages + size),
        ("licence", one["licence"]),
        ("provides", ", ".join(one["provides"])),
        ("policies", ", ".join(one["policies"])),
    ):
        if value:
            console.print(Text(f"{title:>11}  ", style="dim").append(value, style="default"))
    for option, meaning in one["options"].items():
        console.print(Text(f"  --set {option}: ", style="cyan").append(meaning, style="default"))
    console.print()
