"""Captions posted one after another over HTTP: in order, with retries, from a queue that is bounded."""

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from simulst.core.events import SinkEvent
from simulst.errors import SimulstError
from simulst.sinks.words import WordWriter

MAX_WAITING = 10_000
"""Characters that wait; more than that, and the oldest are left out."""
MAX_CAPTION = 200
"""Characters of one post; what waits is sent together up to so many."""
FLUSH_S = 10.0
"""How long the end of a stream waits for what is still to be posted."""

Request = tuple[str, bytes, dict[str, str]]
"""Address, body, headers."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How an address that fails is asked again."""

    timeout_s: float = 5.0
    first_s: float = 0.5
    """Before the second try; twice as long before each further one."""
    longest_s: float = 10.0
    give_up_s: float = 60.0
    """A caption that was tried for so long is left out."""


def checked_address(url: str, what: str) -> str:
    """The address if it is one that can be posted to. Raises SimulstError, which does not repeat it: it is a secret."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or any(sign.isspace() or not sign.isprintable() for sign in url):
        raise SimulstError(
            f"--caption {what} needs the whole address, beginning with https://; what was given is none."
        )
    return url


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A caption goes where it was meant to go."""

    def redirect_request(self, *_: object) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirect)


class Poster:
    """Posts captions in the order in which they are said, from a thread of its own.

    `request` makes the post of the n-th caption, counted from 1 without gaps: one that was given up gives its number to
    the next. `tell` gets a sentence when something goes wrong; addresses are named by their host only.
    """

    def __init__(
        self,
        name: str,
        request: Callable[[int, str], Request],
        *,
        tell: Callable[[str], None],
        first: Callable[[], int] = lambda: 1,
        patience: Patience | None = None,
    ) -> None:
        self._name, self._request, self._tell, self._first = name, request, tell, first
        self._patience = patience or Patience()
        self._waiting: deque[str] = deque()
        self._lost = 0
        self._failing = False
        self._ended = False
        self._stop_at = float("inf")
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"simulst-{name}", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Take text; what waits already is sent together with it where it fits."""
        with self._changed:
            last = self._waiting[-1] if len(self._waiting) > 1 else ""  # the first one may be on its way
            if last and len(last) + len(text) <= MAX_CAPTION:
                self._waiting[-1] = last + text
            else:
                self._waiting.append(text)
            while sum(map(len, self._waiting)) > MAX_WAITING and len(self._waiting) > 1:
                self._lost += len(self._waiting[1])
                del self._waiting[1]
            self._changed.notify()

    def close(self) -> None:
        """Post what waits, for FLUSH_S at most, and say what could not be."""
        with self._changed:
            self._ended = True
            self._stop_at = time.monotonic() + FLUSH_S
            self._changed.notify()
        self._thread.join(FLUSH_S + self._patience.timeout_s + 1)
        with self._changed:
            self._lost += sum(map(len, self._waiting))
            self._waiting.clear()
        if self._lost:
            self._tell(f"{self._name} did not take {self._lost} characters of the captions.")

    def _run(self) -> None:
        number = 0
        while (text := self._next()) is not None:
            number = number or self._first()
            posted = self._post(number, text)
            number += posted
            with self._changed:
                self._waiting.popleft()
                self._lost += 0 if posted else len(text)

    def _next(self) -> str | None:
        """The oldest caption, which stays in the queue while it is posted; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return self._waiting[0] if self._waiting and time.monotonic() < self._stop_at else None

    def _post(self, number: int, text: str) -> bool:
        """Whether a caption was taken, after as many tries as patience allows."""
        patience, begin, wait_s = self._patience, time.monotonic(), self._patience.first_s
        while True:
            problem, asked_s = self._try(*self._request(number, text))
            if not problem:
                self._failing = False
                return True
            if not self._failing:
                self._failing = True
                self._tell(f"{self._name} does not take captions ({problem}); it is asked again.")
            wait_s = max(wait_s, min(asked_s, patience.longest_s))
            if time.monotonic() + wait_s > min(begin + patience.give_up_s, self._stop_at):
                return False
            with self._changed:
                self._changed.wait_for(lambda: self._ended and time.monotonic() > self._stop_at, timeout=wait_s)
            wait_s = min(2 * wait_s, patience.longest_s)

    def _try(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[str, float]:
        """What is wrong, "" where the caption was taken, and how long the other side asks to wait."""
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        try:
            with OPENER.open(request, timeout=self._patience.timeout_s) as answer:
                answer.read(1 << 16)
            return "", 0.0
        except urllib.error.HTTPError as error:
            error.close()
            after = error.headers.get("Retry-After", "") if error.headers else ""
            return f"status {error.code}", float(after[:6]) if after.isdigit() else 0.0
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            return "no answer in time" if isinstance(cause, TimeoutError) else "no connection", 0.0


class PostedCaptions:
    """A sink that gives whole words to a `Poster` once they are final, and that closes it."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster
        self._words = WordWriter()

    def handle(self, event: SinkEvent) -> None:
        self._words.handle(event)
        if text := self._words.take():
            self._poster.say(text)

    def close(self) -> None:
        self._poster.close()
