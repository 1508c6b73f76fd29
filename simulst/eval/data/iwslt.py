"""IWSLT's XML (or SGML) test sets: documents of numbered segments, text only; times come with a separate yaml."""

import html
import os
import re
from collections.abc import Sequence
from pathlib import Path

from simulst.errors import DataError
from simulst.eval.data.segmentation import Segment
from simulst.eval.logs.instances import read_text
from simulst.outputs import write_text

_DOCUMENT = re.compile(r"<doc\b([^>]*)>(.*?)</doc\s*>", re.IGNORECASE | re.DOTALL)
_SEGMENT = re.compile(r"<seg\b[^>]*>(.*?)</seg\s*>", re.IGNORECASE | re.DOTALL)
_DOCUMENT_ID = re.compile(r"""\bdocid\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)


def read_iwslt(path: str | os.PathLike[str]) -> list[Segment]:
    """Segments in order, `wav` being the document's id; DataError when there is none.

    Read by pattern, as sacrebleu does: these files are often no well-formed XML.
    """
    segments: list[Segment] = []
    for position, document in enumerate(_DOCUMENT.finditer(read_text(path)), 1):
        found = _DOCUMENT_ID.search(document[1])
        name = html.unescape(found[1]) if found else str(position)
        for segment in _SEGMENT.finditer(document[2]):
            text = " ".join(html.unescape(segment[1]).split())
            segments.append(Segment(index=len(segments), wav=name, reference=text))
    if not segments:
        raise DataError(f"{Path(path).name} has no <doc> with <seg> in it; is it an IWSLT test set?")
    return segments


def write_iwslt(path: str | os.PathLike[str], segments: Sequence[Segment], *, set_id: str, lang: str) -> None:
    """One <doc> per recording, segments numbered from 1 in each."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<mteval>"]
    lines.append(f'<refset setid="{html.escape(set_id)}" srclang="any" trglang="{html.escape(lang)}" refid="ref">')
    for wav in dict.fromkeys(segment.wav for segment in segments):
        lines.append(f'<doc docid="{html.escape(wav)}" genre="lectures">')
        texts = [segment.reference for segment in segments if segment.wav == wav]
        lines += [f'<seg id="{n}"> {html.escape(text, quote=False)} </seg>' for n, text in enumerate(texts, 1)]
        lines.append("</doc>")
    write_text(path, "\n".join([*lines, "</refset>", "</mteval>"]) + "\n")
