"""Reference segments of long recordings: MuST-C yaml (or the same as json, or OmniSTEval's text form) plus one line of
reference text per segment."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulst.errors import DataError
from simulst.eval.logs.instances import parse_json, read_text
from simulst.outputs import write_text


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One reference segment, in the order of the file (line k of the reference text belongs to segment k)."""

    index: int
    wav: str
    offset_s: float | None = None
    """Start in the recording; None when the segmentation has no times (quality only)."""
    duration_s: float | None = None
    reference: str = ""
    speaker: str = ""


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines with their spaces; only a line feed ends a line (U+2028 and U+0085 are text)."""
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    if lines and not lines[-1]:
        lines.pop()
    return lines


def read_references(path: str | os.PathLike[str]) -> list[str]:
    """One reference per line; DataError when all are empty."""
    lines = read_lines(path)
    if not any(line.strip() for line in lines):
        raise DataError(f"{path} holds no reference text; give one reference per line.")
    return lines


def read_segmentation(
    path: str | os.PathLike[str], references: Sequence[str], *, references_name: str = "the references have"
) -> list[Segment]:
    """Segments with their references; DataError when the counts differ or an entry lacks wav, offset or duration.

    `references_name` is what that message calls the references, verb included.
    """
    entries = _entries(path)
    if len(entries) != len(references):
        raise DataError(
            f"{Path(path).name} has {len(entries)} segments but {references_name} {len(references)} lines; "
            f"the counts must match."
        )
    rows = zip(entries, references, segment_places(path, len(entries)), strict=True)
    return [_segment(index, entry, text, where) for index, (entry, text, where) in enumerate(rows)]


def segment_places(path: str | os.PathLike[str], count: int) -> list[str]:
    """File and line of every segment where each has one line of its own, else its number."""
    name = Path(path).name
    starts = [n for n, line in enumerate(read_text(path).split("\n"), 1) if re.match(r"\s*-\s*\S", line)]
    if len(starts) == count:
        return [f"{name}, line {number}" for number in starts]
    return [f"{name}, entry {number + 1}" for number in range(count)]


def write_segmentation(path: str | os.PathLike[str], segments: Sequence[Segment], *, documents: bool = False) -> None:
    """Write `segmentation_text`."""
    write_text(path, segmentation_text(segments, documents=documents))


def segmentation_text(segments: Sequence[Segment], *, documents: bool = False) -> str:
    """MuST-C yaml, one flow mapping per line; `documents`: OmniSTEval's docid=,segid= lines instead, without times."""
    lines = []
    numbers: dict[str, list[int]] = {}
    for segment in segments:
        seen = numbers.setdefault(segment.wav, [len(numbers), -1])
        seen[1] += 1
        if documents:
            lines.append(f"docid={seen[0]},segid={seen[1]}\n")
            continue
        if segment.offset_s is None or segment.duration_s is None:
            raise DataError("The segments have no times, which MuST-C yaml needs; convert to documents.")
        fields = {"duration": f"{segment.duration_s:.6f}", "offset": f"{segment.offset_s:.6f}", "rW": "0", "uW": "0"}
        fields |= {"speaker_id": _yaml_name(segment.speaker or "NA"), "wav": _yaml_name(segment.wav)}
        lines.append("- {" + ", ".join(f"{key}: {value}" for key, value in fields.items()) + "}\n")
    return "".join(lines)


def _entries(path: str | os.PathLike[str]) -> list[object]:
    name, text = Path(path).name, read_text(path)
    if text.lstrip().startswith("docid="):
        return _text_entries(name, text)
    try:
        entries = parse_json(text) if name.endswith(".json") else _load_yaml(text)
    except ValueError as error:
        raise DataError(f"{name} cannot be parsed: {str(error).splitlines()[0]}.") from None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{name} must be a list of segments with wav, offset and duration.")
    return entries


def _yaml_name(name: str) -> str:
    """Plain where yaml reads it back as the same text, else quoted."""
    return name if re.fullmatch(r"[A-Za-z]+[_./][\w./-]*", name) else json.dumps(name)


def _load_yaml(text: str) -> object:
    import yaml

    try:
        from yaml import CSafeLoader as Loader
    except ImportError:  # a PyYAML without the C library
        from yaml import SafeLoader as Loader  # type: ignore[assignment]
    try:
        document: object = yaml.load(text, Loader=Loader)
        return document
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{place}{error.problem or 'not yaml'}") from None
    except yaml.YAMLError:
        raise ValueError("not yaml") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _text_entries(name: str, text: str) -> list[object]:
    entries: list[object] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = re.fullmatch(r"docid=(\d+),segid=(\d+)", line.strip())
        if not match:
            raise DataError(f"{name}, line {number}: expected docid=DOCUMENT,segid=SEGMENT.")
        entries.append({"wav": f"docid={match[1]}"})
    return entries


def _segment(index: int, entry: object, reference: str, where: str) -> Segment:
    if not isinstance(entry, dict) or not isinstance(entry.get("wav"), str | int):
        raise DataError(f"{where}: no `wav`; every segment needs wav, offset and duration.")
    wav = str(entry["wav"])
    if wav.startswith("docid=") and "offset" not in entry:
        return Segment(index=index, wav=wav, reference=reference)
    values = []
    for key in ("offset", "duration"):
        value = entry.get(key)
        try:
            number = float(value) if isinstance(value, str | int | float) else -1.0
        except (TypeError, ValueError, OverflowError):
            number = -1.0
        if not 0 <= number < 1e9 or isinstance(value, bool):
            raise DataError(f"{where}: `{key}` must be seconds, 0 or more, but is {value!r}.")
        values.append(number)
    return Segment(
        index=index,
        wav=wav,
        offset_s=values[0],
        duration_s=values[1],
        reference=reference,
        speaker=str(entry.get("speaker_id", "")),
    )
