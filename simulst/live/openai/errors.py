"""Errors as OpenAI's interfaces word them: `{"error": {"message", "type", "code", "param"}}`."""

import json
from http import HTTPStatus

from simulst.live.http import Refusal
from simulst.live.protocol import ProtocolError

STATUS = {
    "unauthorised": HTTPStatus.UNAUTHORIZED,
    "unknown_model": HTTPStatus.NOT_FOUND,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "shutting_down": HTTPStatus.SERVICE_UNAVAILABLE,
    "stalled": HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Codes of our protocol that are no mistake in the request (400)."""
CODES = {"unknown_model": "model_not_found", "unauthorised": "invalid_api_key"}
"""Where OpenAI has a name of its own."""


def status_of(code: str) -> HTTPStatus:
    """The HTTP status that says what an error of our protocol says."""
    return STATUS.get(code, HTTPStatus.BAD_REQUEST)


def refusal_of(error: ProtocolError) -> Refusal:
    """An error of our protocol as an answer over HTTP."""
    return Refusal(status_of(error.code), error.code, str(error))


def described(code: str, message: str, status: HTTPStatus, **more: str | None) -> dict[str, object]:
    """The object that describes an error."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"message": message, "type": kind, "code": CODES.get(code, code), "param": None, **more}


def body_of(code: str, message: str, status: HTTPStatus) -> bytes:
    """The body of an HTTP answer that refuses."""
    return json.dumps({"error": described(code, message, status)}).encode()
