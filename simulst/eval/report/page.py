"""Self-contained HTML pages: a template with style, scripts and data in it, and nothing loaded from anywhere."""

import html
import json
from collections.abc import Mapping
from pathlib import Path

_STATIC = Path(__file__).parent / "static"


def render(template: str, *, title: str, data: Mapping[str, object], scripts: tuple[str, ...]) -> str:
    """Fill a template of `static/`; the data become JSON that no text in them can break out of."""
    document = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    parts = {
        "%TITLE%": html.escape(title),
        "%STYLE%": _read("page.css"),
        "%SCRIPT%": "\n".join(map(_read, scripts)),
        "%DATA%": document.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"),
    }
    page = _read(template)
    pieces = []
    while page:
        place, mark = min(((page.find(m), m) for m in parts if m in page), default=(len(page), ""))
        pieces += [page[:place], parts.get(mark, "")]
        page = page[place + len(mark) :]
    return "".join(pieces)


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
