"""`simulst policies`: what there is, what it needs, and which models it works with."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulst.cli import options

if TYPE_CHECKING:
    from rich.table import Table


def policies(
    name: Annotated[str | None, typer.Argument(help="Show one policy or preset with all its parameters.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Say which of them this model can run.", metavar="NAME|DIR")
    ] = None,
    json_: options.Json = False,
) -> None:
    """List the policies with their parameters, presets, papers, and the models that provide what they need."""
    from simulst.models import describe_model, describe_models
    from simulst.policies.describe import describe_policies

    found = describe_policies(
        [name] if name else None, models=describe_models(), model=describe_model(model) if model else None
    )
    if json_:
        print(json.dumps(found[0] if name else found, ensure_ascii=False, indent=2))
    elif name:
        _print_one(found[0])
    else:
        _print_all(found)


def _print_all(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    last = f"on {found[0]['model']}" if "model" in found[0] else "works with"
    for title in ("policy", "what it does", "parameters", "needs", last):
        table.add_column(title, overflow="fold")
    for one in found:
        parameters = ", ".join(f"{p['name']}={_shown(p['value'])}" for p in one["parameters"])
        table.add_row(one["name"], one["summary"], parameters, ", ".join(one["requires"]), _works_with(one))
    console = Console()
    console.print(table)
    console.print(
        "\n`simulst policies NAME` explains one; --set KEY=VALUE changes a parameter, --set history.KEY=VALUE the "
        "history.",
        style="dim",
    )


def _print_one(one: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(one["name"], style="bold"), Text(one["summary"]))
    for title, value in (
        ("paper", one["paper"]),
        ("mirrors", one["source"]),
        ("needs", ", ".join(one["requires"])),
        ("works with", ", ".join(one["models"])),
        (f"on {one['model']}" if "model" in one else "", _works_with(one) if "model" in one else ""),
        ("presets", ", ".join(one["presets"])),
        ("chunk", f"{one['chunk_ms']} ms"),
    ):
        if value:
            console.print(Text(f"{title:>11}  ", style="dim").append(value, style="default"))
    for title, settings in (("parameter", one["parameters"]), ("history", one["history_keys"])):
        console.print(_settings_table(title, settings))


def _settings_table(title: str, settings: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(title, no_wrap=True)
    for column in ("value", "unit", "meaning", "published"):
        table.add_column(column, overflow="fold")
    for one in settings:
        table.add_row(one["name"], _shown(one["value"]), one["unit"], one["help"], one["published"])
    return table


def _works_with(one: dict[str, Any]) -> str:
    """The models that fit, or whether the one that was asked about does."""
    if "model" not in one:
        return ", ".join(one["models"]) or "no known model"
    return "runs" if one["runs"] else f"lacks {', '.join(one['missing'])}"


def _shown(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
