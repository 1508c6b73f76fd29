"""Forms as browsers and HTTP clients post files (multipart/form-data, RFC 7578)."""

from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesHeaderParser
from http import HTTPStatus

from simulst.live.http import Refusal

MAX_PARTS = 64
MAX_FIELD_BYTES = 1 << 14


@dataclass(kw_only=True)
class Form:
    fields: dict[str, list[str]] = field(default_factory=dict)
    """Values by name in the order in which they came; of `name[]` under `name`."""
    files: dict[str, bytes] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """The last value of a field, None where it is missing or empty."""
        return (self.fields.get(name) or [""])[-1] or None


def read_form(content_type: str, body: bytes) -> Form:
    """The fields and files of a posted form. Raises Refusal."""
    boundary = _boundary(content_type)
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 3 or pieces[-1][:2] != b"--" or len(pieces) > MAX_PARTS:
        raise _bad(f"The form must be complete and have at most {MAX_PARTS} parts.")
    form = Form()
    for piece in pieces[1:-1]:
        head, blank, content = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        message = BytesHeaderParser().parsebytes(head)
        name = message.get_param("name", header="Content-Disposition")
        if not (blank and isinstance(name, str) and name):
            raise _bad("Every part of the form must have a name.")
        if message.get_filename() is not None or name == "file":
            form.files[name] = content
        elif len(content) > MAX_FIELD_BYTES:
            raise _bad(f"A field of the form has at most {MAX_FIELD_BYTES} bytes.")
        else:
            form.fields.setdefault(name.removesuffix("[]"), []).append(content.decode("utf-8", "replace"))
    return form


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/form-data" or not boundary or len(boundary) > 200:
        raise _bad("The request must be a form (multipart/form-data) with the audio in its part 'file'.")
    return boundary.encode("latin-1", "replace")


def _bad(sentence: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "bad_form", sentence)
