"""Zoom: closed captions, plain text posted to a meeting's caption address with a sequence number."""

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit, urlunsplit

from simulst.sinks.posting import OPENER, Patience, PostedCaptions, Poster, Request, checked_address


def zoom_captions(url: str, tell: Callable[[str], None], patience: Patience | None = None) -> PostedCaptions:
    """A sink that posts to a caption address; its numbers go on after the last that the meeting has taken.

    Retries keep their number. A language is part of the address (`&lang=de-DE`). Raises SimulstError where it is none.
    """
    checked_address(url, "zoom")
    parts = urlsplit(url)
    timeout_s = (patience or Patience()).timeout_s

    def request(number: int, text: str) -> Request:
        query = f"{parts.query}&{urlencode({'seq': number})}".lstrip("&")
        return urlunsplit(parts._replace(query=query)), text.encode(), {"Content-Type": "text/plain; charset=utf-8"}

    def first() -> int:
        """The number after the last one taken, 1 where that is not told."""
        address = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/seq"))
        try:
            with OPENER.open(address, timeout=timeout_s) as answer:
                return int(answer.read(32)) + 1
        except (OSError, ValueError):
            return 1

    name = f"Zoom ({parts.hostname})"
    return PostedCaptions(Poster(name, request, tell=tell, first=first, patience=patience))
