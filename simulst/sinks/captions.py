"""Captions for meetings and streams by name: `teams=URL`, `zoom=URL`, `webhook=URL`, `hls=DIR`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from simulst.errors import SimulstError

if TYPE_CHECKING:
    from simulst.sinks.sink import Sink

CAPTIONS = ("teams", "zoom", "webhook", "hls")


def open_captions(spec: str, tell: Callable[[str], None]) -> "Sink":
    """The sink that `KIND=WHERE` names: teams, zoom and webhook take an address, hls a folder. Raises SimulstError."""
    kind, equals, where = spec.partition("=")
    if kind not in CAPTIONS or not (equals and where):
        shown = kind if kind in CAPTIONS else "?"
        raise SimulstError(
            f"--caption takes KIND=WHERE with one of {', '.join(CAPTIONS)}, such as zoom=URL, not {shown}."
        )
    if kind == "teams":
        from simulst.sinks.teams import teams_captions

        return teams_captions(where, tell)
    if kind == "zoom":
        from simulst.sinks.zoom import zoom_captions

        return zoom_captions(where, tell)
    if kind == "webhook":
        from simulst.sinks.webhook import webhook_captions

        return webhook_captions(where, tell)
    from simulst.sinks.hls import HlsCaptions

    return HlsCaptions(where)


def split_target(spec: str) -> tuple[str | None, str]:
    """The target, where one is named, and the rest of `KIND.TARGET=WHERE`."""
    kind, equals, where = spec.partition("=")
    kind, dot, target = kind.partition(".")
    return (target if dot else None), f"{kind}{equals}{where}"
