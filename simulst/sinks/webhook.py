"""A generic webhook: `{"seq", "text"}` posted as JSON for every caption."""

import json
import os
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from simulst.sinks.posting import Patience, PostedCaptions, Poster, Request, checked_address

TOKEN = "SIMULST_WEBHOOK_TOKEN"
"""The environment variable whose value is sent as a Bearer token."""


def webhook_captions(url: str, tell: Callable[[str], None], patience: Patience | None = None) -> PostedCaptions:
    """A sink that posts to any address; `seq` counts from 1 without gaps, and `stream` tells one run from the next.

    Joined, the texts are what was said. A retry carries the number of the first try. Raises SimulstError for what is no
    address.
    """
    checked_address(url, "webhook")
    stream, token = secrets.token_urlsafe(9), os.environ.get(TOKEN, "")

    def request(number: int, text: str) -> Request:
        body = {"stream": stream, "seq": number, "text": text}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        return url, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), headers

    return PostedCaptions(Poster(f"The webhook ({urlsplit(url).hostname})", request, tell=tell, patience=patience))
