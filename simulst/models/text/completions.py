"""The client of an OpenAI-compatible server of completions: requests, retries, and what went wrong in one sentence."""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from simulst.errors import ModelError

MAX_ANSWER_BYTES = 16 << 20
WORTH_ANOTHER = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host; it is an answer like any other."""

    def redirect_request(self, *args: object, **named: object) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server is, and the model on it."""

    url: str
    """Without a slash at the end: http://127.0.0.1:8080/v1."""
    model: str
    """"" for the only one that it has."""


def parse_address(text: str) -> Address:
    """`http://HOST:PORT/v1#MODEL`; ModelError for what is no such address."""
    url, _, model = text.partition("#")
    try:
        parts = urlsplit(url)
        named, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ModelError(f"The endpoint {url} is no address: {error}.") from error
    if parts.username is not None or parts.password is not None:
        raise ModelError("An endpoint's key belongs in an environment variable (option key_variable), not in its URL.")
    if not named or parts.query:
        raise ModelError(f"The endpoint {url} is no address; give http://HOST:PORT/v1#MODEL.")
    return Address(url=url.rstrip("/"), model=model)


@dataclass(frozen=True, kw_only=True)
class Client:
    """Asks one server. Safe to share between threads."""

    address: Address
    timeout_s: float
    """For one request, from its begin to the last byte of its answer."""
    retries: int
    key_variable: str
    """The environment variable that holds the key, read for each request and never told."""

    def complete(self, request: dict[str, object]) -> list[dict[str, Any]]:
        """The choices of a completion; ModelError, one sentence, where there are none to be had."""
        answer = self._patiently("/completions", {"model": self.address.model, **request})
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not all(isinstance(one, dict) for one in choices):
            raise self._error("answered without choices; it must be an OpenAI-compatible server of completions")
        if not all(isinstance(one.get("text"), str) for one in choices):
            raise self._error("answered a choice without text; it must be an OpenAI-compatible server of completions")
        return choices

    def models(self) -> list[str]:
        """Names of the models that the server has; none where it does not tell. ModelError where it is away."""
        try:
            answer = self._patiently("/models", None)
        except _Refused as refused:
            if refused.status in (401, 403):
                raise
            return []
        found = answer.get("data")
        names = [one.get("id") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        return [name for name in names if isinstance(name, str)]

    def _patiently(self, path: str, body: dict[str, object] | None) -> dict[str, Any]:
        """The answer, asked for again after what may pass."""
        for attempt in range(self.retries + 1):
            try:
                return self._ask(path, body)
            except _Passing as trouble:
                if attempt == self.retries:
                    times = f" {attempt + 1} times" if attempt else ""
                    raise self._error(f"{trouble}{times}; what was committed stays") from trouble
                time.sleep(min(4.0, 0.25 * 2**attempt))
        raise AssertionError("a request is made once at least")

    def _ask(self, path: str, body: dict[str, object] | None) -> dict[str, Any]:
        request = urllib.request.Request(
            self.address.url + path, data=None if body is None else json.dumps(body).encode(), headers=self._headers()
        )
        until = time.monotonic() + self.timeout_s
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout_s) as response:
                return self._read(_whole(response, until))
        except urllib.error.HTTPError as error:
            with error:
                said = _message(error)
            if error.code in WORTH_ANOTHER:
                raise _Passing(f"answered {error.code}{said}") from error
            raise _Refused(self._sentence(f"refused the request with {error.code}{said}"), error.code) from error
        except TimeoutError as error:
            raise _Passing(f"did not answer within {self.timeout_s:g} s") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _Passing(f"did not answer within {self.timeout_s:g} s") from error
            raise _Passing(f"cannot be reached ({_reason(error.reason)})") from error
        except (http.client.HTTPException, OSError) as error:
            raise _Passing(f"dropped the connection ({_reason(error)})") from error

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self.key_variable, "")
        if not key.isascii() or not key.isprintable():
            raise ModelError(f"The key in {self.key_variable} holds characters that no key has.")
        return {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}

    def _read(self, answer: bytes) -> dict[str, Any]:
        try:
            content = json.loads(answer)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise self._error("answered something that is no JSON object; its URL must end where /completions begins")
        return content

    def _error(self, trouble: str) -> ModelError:
        return ModelError(self._sentence(trouble))

    def _sentence(self, trouble: str) -> str:
        return f"The endpoint {self.address.url} {trouble}."


class _Passing(Exception):
    """Trouble after which the same request may succeed."""


class _Refused(ModelError):
    """The server does not want the request."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


def _whole(response: http.client.HTTPResponse, until: float) -> bytes:
    """All of an answer; TimeoutError once it takes too long, however steadily it drips."""
    parts, size = list[bytes](), 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB")
        if time.monotonic() > until:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says about an error, on one line; "" where it says nothing."""
    try:
        content = json.loads(error.read(4096))
        said = content["error"]["message"] if isinstance(content["error"], dict) else content["error"]
    except (ValueError, KeyError, TypeError, RecursionError, OSError, http.client.HTTPException):
        return ""
    return f" ({' '.join(str(said).split())[:200]})"


def _reason(error: object) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "its answer is cut short"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split())[:200] or type(error).__name__
