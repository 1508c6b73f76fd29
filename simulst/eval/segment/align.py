"""Cut recordings into reference segments: `ScoredSegment` is what every metric is computed from."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulst.eval.data.segmentation import Segment
from simulst.eval.logs import clock
from simulst.eval.logs.instances import Instance
from simulst.eval.logs.units import Unit, join_units, reference_length
from simulst.eval.segment.profiles import Profile
from simulst.eval.segment.recordings import Recording, recording_end_s
from simulst.eval.segment.resegmentation import Band, segment_ends

Tokeniser = Callable[[str], list[str]]
CLOCKS = ("", "_CA", "_CA_backlog")


@dataclass(frozen=True, kw_only=True)
class ScoredSegment:
    """One reference segment with the part of the stream that translates it; times relative to the segment, ms."""

    index: int
    wav: str
    reference: str
    prediction: str
    units: tuple[str, ...]
    times: dict[str, tuple[float, ...]]
    """Emission time of each unit by clock: "" ideal, "_CA" computation-aware, "_CA_backlog" with queueing."""
    target_length: int
    """Reference units as the profile counts them."""
    source_length_ms: float | None
    offset_ms: float | None = None
    limit_ms: float | None = None
    """End of the recording relative to the segment's start; None for short form."""
    emitted_ms: tuple[float, ...] = ()
    """Ideal emission times in the recording."""
    source: str = ""
    """What was said, when it is known."""


def short_segments(instances: Sequence[Instance], profile: Profile, unit: Unit) -> list[ScoredSegment]:
    """Instances that are segments already."""
    segments = []
    for instance in instances:
        units = instance.units(unit)
        reference = instance.reference or ""
        reference = reference.strip() if profile.strip_references else reference
        segments.append(
            ScoredSegment(
                index=instance.index,
                wav=instance.source,
                reference=reference,
                prediction=instance.prediction,
                units=tuple(units),
                times=_absolute_times(instance),
                target_length=reference_length(reference, unit, profile.counting),
                source_length_ms=instance.source_length_ms,
                limit_ms=_recording_end(instance),
                emitted_ms=instance.delays_ms,
            )
        )
    return segments


def _recording_end(instance: Instance) -> float | None:
    """What OmniSTEval's resegmented instances say about the end of their recording."""
    end = instance.extra.get("time_to_recording_end")
    return float(end) if isinstance(end, int | float) and not isinstance(end, bool) else None


def long_segments(
    recordings: Sequence[Recording],
    profile: Profile,
    unit: Unit,
    *,
    band: Band | None = None,
    tokenise: Tokeniser | None = None,
) -> list[ScoredSegment]:
    """Resegment every recording; the result is in the order of the segmentation file."""
    segments: list[ScoredSegment] = []
    for recording in recordings:
        segments.extend(_resegment(recording, profile, unit, band, tokenise))
    return sorted(segments, key=lambda segment: segment.index)


def _resegment(
    recording: Recording, profile: Profile, unit: Unit, band: Band | None, tokenise: Tokeniser | None
) -> list[ScoredSegment]:
    instance, references = recording.instance, [_reference(s, profile, unit) for s in recording.segments]
    units = instance.units(unit)
    keep = list(range(len(units)))
    if profile.segmenter == "soft":
        ends = _soft_ends(units, references, unit, tokenise)
    elif unit == "char" and profile.char_tokens == "latin-runs":
        ends = _latin_run_ends(units, references)
    else:
        if unit == "char":  # spaces only separate; they are not units of the segments
            keep = [k for k in keep if units[k].strip(_ASCII_SPACE)]
        tokens = [_mwer_tokens(reference, unit) for reference in references]
        emission = [instance.delays_ms[k] for k in keep] if instance.delays_ms else ()
        offsets = [1000.0 * (s.offset_s or 0.0) for s in recording.segments]
        usable = band if emission and recording.segments[0].offset_s is not None else None
        ends = segment_ends([units[k] for k in keep], tokens, band=usable, emission_ms=emission, offsets_ms=offsets)
    return _cut(recording, references, [units[k] for k in keep], keep, ends, profile, unit)


def _reference(segment: Segment, profile: Profile, unit: Unit) -> str:
    text = segment.reference.strip()
    return text.replace(" ", "") if unit == "char" and profile.spaceless_references else text


_ASCII_SPACE = " \t\n\r\v\f"


def _mwer_tokens(reference: str, unit: Unit) -> list[str]:
    """Only ASCII white space separates; U+00A0 is part of a word."""
    if unit == "char":
        return [character for character in reference if character not in _ASCII_SPACE]
    return [token for token in re.split(f"[{_ASCII_SPACE}]+", reference) if token]


def _latin_run_ends(units: Sequence[str], references: Sequence[str]) -> list[int]:
    """mWER where a run of Latin-1 characters with its spaces is one token, as simulstream passes it to mweralign."""
    tokens = _latin_runs("".join(units))
    ends = segment_ends(tokens, [_latin_runs(reference) for reference in references])
    lengths = [0]
    for token in tokens:
        lengths.append(lengths[-1] + len(token))
    return [lengths[end] for end in ends]


def _latin_runs(text: str) -> list[str]:
    return re.findall(r"[\x00-\xff]+|[^\x00-\xff]", text)


def _soft_ends(units: Sequence[str], references: Sequence[str], unit: Unit, tokenise: Tokeniser | None) -> list[int]:
    from simulst.eval.segment.soft_alignment import ReferenceUnit, assign_segments

    tokenise = tokenise or (lambda text: [text])
    targets = []
    for segment, reference in enumerate(references):
        lowered = reference.lower()
        for word in list(lowered) if unit == "char" else lowered.split():
            targets += [ReferenceUnit(text=token, segment=segment) for token in tokenise(_normalised(word))]
    tokens: list[str] = []
    first: list[int] = []
    for word in units:
        first.append(len(tokens))
        tokens += tokenise(_normalised(word)) or [""]
    assigned = assign_segments(tokens, targets, unit)
    ends = [0] * len(references)
    for position in first:
        ends[assigned[position]] += 1
    for segment in range(1, len(ends)):
        ends[segment] += ends[segment - 1]
    return ends


def _normalised(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def _cut(
    recording: Recording,
    references: Sequence[str],
    units: Sequence[str],
    keep: Sequence[int],
    ends: Sequence[int],
    profile: Profile,
    unit: Unit,
) -> list[ScoredSegment]:
    instance, segments = recording.instance, recording.segments
    timed = bool(instance.delays_ms) and segments[0].offset_s is not None
    starts = [0, *ends[:-1]]
    offsets = [
        1000.0 * (segments[s].offset_s or 0.0)
        for s, (a, b) in enumerate(zip(starts, ends, strict=True))
        for _ in range(a, b)
    ]
    times = _relative_times(instance, keep, offsets, profile) if timed else {}
    end = recording_end_s(segments)
    result = []
    for segment, reference, a, b in zip(segments, references, starts, ends, strict=True):
        offset = None if segment.offset_s is None else 1000.0 * segment.offset_s
        result.append(
            ScoredSegment(
                index=segment.index,
                wav=segment.wav,
                reference=reference,
                prediction=join_units(list(units[a:b]), unit).strip(),
                units=tuple(units[a:b]),
                times={name: tuple(values[a:b]) for name, values in times.items()},
                target_length=reference_length(reference, unit, profile.counting),
                source_length_ms=None if segment.duration_s is None else 1000.0 * segment.duration_s,
                offset_ms=offset,
                limit_ms=None if offset is None else 1000.0 * end - offset,
                emitted_ms=tuple(instance.delays_ms[k] for k in keep[a:b]) if timed else (),
            )
        )
    return result


def _relative_times(
    instance: Instance, keep: Sequence[int], offsets: Sequence[float], profile: Profile
) -> dict[str, list[float]]:
    delays = [instance.delays_ms[k] for k in keep]
    elapsed = [instance.elapsed_ms[k] for k in keep] if instance.elapsed_ms else []
    times = {"": [d - o for d, o in zip(delays, offsets, strict=True)]}
    if elapsed:
        if profile.repair == "fbk" and instance.cumulative:
            times[""], times["_CA"] = clock.increments_clamped(delays, elapsed, offsets)
        else:
            repair = instance.cumulative and profile.repair == "omnisteval"
            repaired = clock.increments(delays, elapsed) if repair else elapsed
            times["_CA"] = [e - o for e, o in zip(repaired, offsets, strict=True)]
        queued = _backlog(instance)
        times["_CA_backlog"] = [queued[k] - o for k, o in zip(keep, offsets, strict=True)]
    if profile.clamp:
        times = {name: [max(0.0, value) for value in values] for name, values in times.items()}
    return times


def _absolute_times(instance: Instance) -> dict[str, tuple[float, ...]]:
    times = {"": instance.delays_ms}
    if instance.elapsed_ms:
        times["_CA"] = instance.elapsed_ms
        if _recording_end(instance) is None:  # a segment of a recording cannot tell what came before it
            times["_CA_backlog"] = tuple(_backlog(instance))
    return times


def _backlog(instance: Instance) -> Sequence[float]:
    return instance.backlog_ms or clock.backlog(
        instance.delays_ms, instance.elapsed_ms, chunks=instance.chunks, cumulative=instance.cumulative
    )
