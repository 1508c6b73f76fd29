"""Microsoft Teams: CART captions, plain text posted to the link that a meeting's organiser copies from its options."""

from collections.abc import Callable
from urllib.parse import urlsplit

from simulst.sinks.posting import Patience, PostedCaptions, Poster, Request, checked_address


def teams_captions(url: str, tell: Callable[[str], None], patience: Patience | None = None) -> PostedCaptions:
    """A sink that posts to a CART link. Raises SimulstError where it is none."""
    checked_address(url, "teams")

    def request(number: int, text: str) -> Request:
        return url, text.encode(), {"Content-Type": "text/plain; charset=utf-8"}

    return PostedCaptions(Poster(f"Teams ({urlsplit(url).hostname})", request, tell=tell, patience=patience))
