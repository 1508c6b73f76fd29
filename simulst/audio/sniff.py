"""What a source is, from its first bytes."""

from typing import Literal

HEAD_BYTES = 512
Kind = Literal["wav", "sndfile", "container", "text", "unknown"]

_SNDFILE = (b"fLaC", b"OggS", b"FORM", b"caff", b"riff", b".snd", b"RIFX", b"NIST_1A")
_CONTAINER = (
    b"ID3", b"\x1aE\xdf\xa3", b"FLV", b"\x00\x00\x01\xba", b"0&\xb2u", b"#!AMR", b"MAC ", b"wvpk",
    b"RIFF", b"APETAGEX", b"TTA1", b"MPCK", b"MP+", b"ADIF", b"Creative Voice File",
)  # fmt: skip


def sniff(head: bytes) -> Kind:
    """Kind of the source that begins with `head`, its first `HEAD_BYTES` bytes or fewer.

    Formats known only by a short sync word (mp3 without a tag, transport streams) are "unknown": in a pipe the same
    bytes may be raw samples, and simulst.audio.sync tells.
    """
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head.startswith(_SNDFILE):
        return "sndfile"
    if head.startswith(_CONTAINER) or head[4:8] == b"ftyp":
        return "container"
    if head and _is_text(head):
        return "text"
    return "unknown"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")  # a character cut in two at the end of `head`
    return bool(text) and all(sign.isprintable() or sign in "\r\n\t\f" for sign in text)
