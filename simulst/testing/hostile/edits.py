"""Small edits that turn a valid file into a hostile one: of its bytes, its lines, its values, or all of it.

An edit is three whole numbers: what to do, where, and with what; any three mean something for any file, so that a
property-based test can draw and shrink them, and a script can roll them.
"""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml

Edit = tuple[int, int, int]
RANGE = 1 << 16
"""The numbers of an edit are below this."""
MAX_BYTES = 1 << 20
"""Edits that insert or repeat stop here."""

COUNTS = (
    0,
    1,
    2,
    7,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFF00,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFDB,
    0xFFFFFF00,
    0xFFFFFFFF,
)
"""What sizes, rates and counts in headers claim."""
WORDS = (
    "", " ", "x", "\t", "\0", "\x1b[31m", "\u202e", "\ufeff", "\N{GRINNING FACE}", "e\u0301", "x" * 3_000, "w " * 500,
    "../../etc/passwd", "/", "/dev/null", "~", ".", "-", "--help", "*", "%s%n", "$\\bad$", "<script>", "a\nb", "'", '"',
    "nan", "Infinity", "1e999", "None", "true", "0x10", "toy", "offline", "word", "float32", "cuda", "2026-01-01",
)  # fmt: skip
VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**53 + 1, 2**63, 2**64, 10**400, -(10**30), 0.5, -0.0, 1e-320, 1e308, 1e999,
    -1e999, float("nan"), [], {}, [[]], [None], {"": None}, [1, 2], [1e308] * 3, {"a": {"b": []}}, "\ud800",
)  # fmt: skip


def edited(data: bytes, suffix: str, edits: Sequence[Edit]) -> bytes:
    """`data` after all edits; `suffix` (".json", ".yaml", ...) says what structure it has."""
    for edit in edits:
        data = _edit(data, suffix, edit)[:MAX_BYTES]
    return data


def _edit(data: bytes, suffix: str, edit: Edit) -> bytes:
    what, where, value = edit
    if suffix in (".json", ".jsonl", ".log", ".yaml") and what % 3:
        return _edit_tree(data, suffix, what // 3, where, value)
    if suffix in (".toml", ".txt", ".tsv") and what % 3:
        return _edit_lines(data, what // 3, where, value)
    edits = _BYTE_EDITS
    return edits[what // 3 % len(edits)](data, _place(data, where), value)


def _place(data: bytes, where: int) -> int:
    """Where in the file: every second time in its first 64 bytes, where headers are."""
    return where // 2 % (min(64, len(data)) + 1 if where % 2 else len(data) + 1)


def _overwrite(data: bytes, at: int, value: int) -> bytes:
    order = "<>"[value % 2]
    size = "BHIQ"[value // 2 % 4]
    count = COUNTS[value // 8 % len(COUNTS)] & ((1 << 8 * struct.calcsize(size)) - 1)
    return data[:at] + struct.pack(order + size, count) + data[at + struct.calcsize(size) :]


def _flip(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes(byte ^ (1 << value % 8) for byte in data[at : at + 1]) + data[at + 1 :]


def _insert(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes((value * (n + 1) + n) % 256 for n in range(value % 97 + 1)) + data[at:]


def _delete(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + data[at + value % 97 + 1 :]


def _cut(data: bytes, at: int, value: int) -> bytes:
    return data[:at]


def _behead(data: bytes, at: int, value: int) -> bytes:
    return data[at:]


def _repeat(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + data[at : at + value % 997 + 1] * (2 + value % 5) + data[at:]


def _zero(data: bytes, at: int, value: int) -> bytes:
    gone = data[at : at + value % 997 + 1]
    return data[:at] + bytes([(0, 255)[value % 2]]) * len(gone) + data[at + len(gone) :]


def _chain(data: bytes, at: int, value: int) -> bytes:
    return data + (data if value % 2 else data[at:])


def _replace(data: bytes, at: int, value: int) -> bytes:
    return STRANGERS[value % len(STRANGERS)]


_BYTE_EDITS: tuple[Callable[[bytes, int, int], bytes], ...] = (
    _overwrite, _flip, _insert, _delete, _cut, _behead, _repeat, _zero, _chain, _overwrite, _flip, _replace,
)  # fmt: skip

STRANGERS = (
    b"",
    b"\0",
    b"\n",
    bytes(4_096),
    b"\xff" * 4_096,
    b"\xef\xbb\xbf",
    b"\xff\xfeh\0i\0",
    b"PK\x03\x04" + bytes(60),
    b"\x1f\x8b\x08" + bytes(60),
    b"\x7fELF" + bytes(60),
    b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    b"#!/bin/sh\nexit 1\n",
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b"a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n"
    b"e: [*d,*d,*d,*d,*d,*d,*d,*d]\n",
    b"!!python/object/apply:os.system ['true']\n",
    b"- &x\n  wav: *x\n",
    b"a = " + b"[" * 5_000,
    b"a.b.c.d.e.f = 1\na.b = 2\n",
    b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
    b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    b"RIFF\xff\xff\xff\xffWAVE",
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0data\0\0\0\0",
    b"OggS" + bytes(40),
    b"fLaC" + bytes(60),
    b"\0\0\0\x20ftypM4A " + bytes(60),
    b"\x1aE\xdf\xa3" + b"\xff" * 60,
    b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
    struct.pack("<Q", 2**63) + b"{}",
    struct.pack("<Q", 2) + b"{}",
)
"""Whole files that are something else, or claim what no file can hold."""


def _edit_lines(data: bytes, what: int, where: int, value: int) -> bytes:
    """Lines of `key = value`, or of text: change a value or a key, or move, repeat and drop lines."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    at = where % len(lines)
    key, equals, _ = lines[at].partition("=")
    if what % 6 < 2 and equals:
        lines[at] = f"{key}= {_toml(value)}"
    elif what % 6 == 2 and equals:
        lines[at] = f"{WORDS[value % len(WORDS)]} ={lines[at].partition('=')[2]}"
    elif what % 6 == 3:
        del lines[at]
    elif what % 6 == 4:
        lines.insert(value % len(lines), lines[at])
    else:
        lines[at] = WORDS[value % len(WORDS)]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _toml(value: int) -> str:
    choices = [*WORDS, *VALUES]
    chosen = choices[value % len(choices)]
    if isinstance(chosen, dict):
        return "{a = 1}"
    return str(chosen).lower() if value % 2 and not isinstance(chosen, str) else json.dumps(chosen)


def _edit_tree(data: bytes, suffix: str, what: int, where: int, value: int) -> bytes:
    """A document or one of a file's lines, with a value, key or branch changed; bytes that are none get words."""
    text = data.decode("utf-8", "surrogateescape")
    lines = text.split("\n") if suffix in (".jsonl", ".log") else [text]
    at = where % len(lines)
    try:
        document = yaml.safe_load(lines[at]) if suffix == ".yaml" else json.loads(lines[at])
    except (ValueError, RecursionError, yaml.YAMLError):
        return _edit_lines(data, what, where, value)
    changed = _changed(document, what, where // max(1, len(lines)), value)
    lines[at] = _dumped(changed, suffix)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _dumped(document: object, suffix: str) -> str:
    if suffix != ".yaml":
        return json.dumps(document)
    try:
        return str(yaml.safe_dump(document, allow_unicode=True))
    except ValueError:
        return json.dumps(document)


def _changed(document: object, what: int, where: int, value: int) -> object:
    places = list(_places(document))
    if not places:
        return VALUES[value % len(VALUES)]
    branch, key = places[where % len(places)]
    hostile = [*VALUES, *WORDS][value % (len(VALUES) + len(WORDS))]
    match what % 6:
        case 0 | 1:
            branch[key] = hostile
        case 2:
            del branch[key]
        case 3 if isinstance(branch, dict):
            branch[WORDS[value % len(WORDS)]] = branch.pop(key)
        case 3 | 4:
            other_branch, other = places[value % len(places)]
            branch[key] = json.loads(json.dumps(other_branch[other]))
        case _:
            branch[key] = [branch[key]] * (value % 3)
    return document


def _places(document: object) -> Iterator[tuple[Any, Any]]:
    """Every branch with every key in it, outermost first."""
    queue: list[Any] = [document]
    while queue:
        branch = queue.pop(0)
        keys = list(branch) if isinstance(branch, dict) else range(len(branch)) if isinstance(branch, list) else ()
        for key in keys:
            yield branch, key
            queue.append(branch[key])
