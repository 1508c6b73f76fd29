"""`simulst policies`: what there is, what it needs, and which models it works with."""

import dataclasses
import json
from typing import Annotated, Any

import typer

from simulst.cli import options


def policies(
    name: Annotated[str | None, typer.Argument(help="Show one policy or preset with all its parameters.")] = None,
    json_: options.Json = False,
) -> None:
    """List the policies with their parameters, presets, papers, and the models that provide what they need."""
    from simulst.policies import POLICIES

    found = [_describe(one) for one in ([name] if name else POLICIES)]
    if json_:
        print(json.dumps(found[0] if name else found, ensure_ascii=False, indent=2))
    elif name:
        _print_one(found[0])
    else:
        _print_all(found)


def _describe(name: str) -> dict[str, Any]:
    from simulst.models import describe_models
    from simulst.policies import POLICIES, load_policy
    from simulst.policies.loading import policy_class, preset_names, preset_path, read_preset

    loaded = load_policy(name)
    cls = type(loaded.policy)
    needs = loaded.policy.needs()
    presets = [
        preset
        for preset in preset_names()
        if (path := preset_path(preset)) is not None and policy_class(read_preset(path)["policy"]) is cls
    ]
    return {
        "name": name,
        "policy": next((key for key, target in POLICIES.items() if target.endswith(f":{cls.__name__}")), cls.__name__),
        "summary": (cls.__doc__ or "").strip().splitlines()[0],
        "parameters": [_parameter(loaded.policy, one) for one in dataclasses.fields(cls)],  # type: ignore[arg-type]
        "chunk_ms": loaded.chunk_ms,
        "history": dataclasses.asdict(loaded.history),
        "requires": sorted(needs),
        "paper": cls.paper,
        "source": loaded.source,
        "presets": presets,
        "models": [info.name for info in describe_models() if needs <= info.provides],
    }


def _parameter(policy: Any, one: "dataclasses.Field[Any]") -> dict[str, Any]:
    return {
        "name": one.name,
        "value": getattr(policy, one.name),
        "default": None if one.default is dataclasses.MISSING else one.default,
        "unit": one.metadata.get("unit", ""),
        "help": one.metadata.get("help", ""),
        "published": one.metadata.get("published", ""),
    }


def _print_all(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("policy", "what it does", "parameters", "needs", "works with"):
        table.add_column(title, overflow="fold")
    for one in found:
        parameters = ", ".join(f"{p['name']}={_shown(p['value'])}" for p in one["parameters"])
        table.add_row(one["name"], one["summary"], parameters, ", ".join(one["requires"]), ", ".join(one["models"]))
    console = Console()
    console.print(table)
    console.print("\n`simulst policies NAME` explains one; --set KEY=VALUE changes a parameter.", style="dim")


def _print_one(one: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(Text(one["name"], style="bold"), Text(one["summary"]))
    for title, value in (
        ("paper", one["paper"]),
        ("mirrors", one["source"]),
        ("needs", ", ".join(one["requires"])),
        ("works with", ", ".join(one["models"])),
        ("presets", ", ".join(one["presets"])),
        ("chunk", f"{one['chunk_ms']} ms"),
        ("history", ", ".join(f"{key}={_shown(value)}" for key, value in one["history"].items())),
    ):
        if value:
            console.print(Text(f"{title:>11}  ", style="dim").append(value, style="default"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("parameter", "value", "unit", "meaning", "published"):
        table.add_column(title, overflow="fold")
    for p in one["parameters"]:
        table.add_row(p["name"], _shown(p["value"]), p["unit"], p["help"], p["published"])
    console.print(table)


def _shown(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
