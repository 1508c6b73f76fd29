"""Which line of a log translates which recording of a segmentation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from simulst.errors import DataError
from simulst.eval.data.segmentation import Segment
from simulst.eval.logs.instances import Instance


@dataclass(frozen=True, kw_only=True)
class Recording:
    """All segments of one recording with the stream that translates it."""

    instance: Instance
    segments: tuple[Segment, ...]


def shift_to_first_segment(segments: Sequence[Segment]) -> list[Segment]:
    """Offsets counted from each recording's first segment, for logs that were timed from there."""
    first: dict[str, float] = {}
    for segment in segments:
        first.setdefault(segment.wav, segment.offset_s or 0.0)
    return [
        segment if segment.offset_s is None else replace(segment, offset_s=segment.offset_s - first[segment.wav])
        for segment in segments
    ]


def recording_end_s(segments: Iterable[Segment]) -> float:
    """End of the last segment: what OmniSTEval takes for the end of the recording."""
    return max((segment.offset_s or 0.0) + (segment.duration_s or 0.0) for segment in segments)


def match_recordings(segments: Sequence[Segment], instances: Sequence[Instance], segmentation: str) -> list[Recording]:
    """Pair every recording with the log line of its audio, by name, file name or stem; DataError when one is missing.

    Segments are grouped by name wherever they stand, so an interleaved file means the same as a sorted one.
    """
    groups: dict[str, list[Segment]] = {}
    for segment in segments:
        groups.setdefault(segment.wav, []).append(segment)
    if all(segment.offset_s is None for segment in segments) and all(not i.source for i in instances):
        return _match_by_order(groups, instances, segmentation)
    found: dict[str, Instance] = {}
    keys = _lookup(groups)
    for instance in instances:
        wav = next((keys[key] for key in _names(instance.source) if key in keys), None)
        if wav is None:
            known = ", ".join(list(groups)[:4]) + (", ..." if len(groups) > 4 else "")
            raise DataError(f"{instance.where}: {instance.source} is not in {segmentation}, which has {known}.")
        if wav in found:
            raise DataError(f"{instance.where}: {wav} was already translated in {found[wav].where}; keep one of them.")
        found[wav] = instance
    if missing := [wav for wav in groups if wav not in found]:
        raise DataError(
            f"The log has no line for {missing[0]}"
            + (f" and {len(missing) - 1} more recordings" if len(missing) > 1 else "")
            + f" of {segmentation}; finish the run or leave its segments out of both files."
        )
    return [Recording(instance=found[wav], segments=tuple(group)) for wav, group in groups.items()]


def _match_by_order(
    groups: dict[str, list[Segment]], instances: Sequence[Instance], segmentation: str
) -> list[Recording]:
    if len(groups) != len(instances):
        raise DataError(f"The log has {len(instances)} lines but {segmentation} has {len(groups)} documents.")
    pairs = zip(instances, groups.values(), strict=True)
    return [Recording(instance=instance, segments=tuple(group)) for instance, group in pairs]


def _names(source: str) -> list[str]:
    path = PurePath(source)
    return [source, path.name, str(path.with_suffix("")) if path.name else source, path.stem]


def _lookup(groups: Iterable[str]) -> dict[str, str]:
    """Every name a recording may go by; names that fit two recordings are left out."""
    keys: dict[str, str] = {}
    ambiguous: set[str] = set()
    for wav in groups:
        for key in set(_names(wav)):
            if keys.setdefault(key, wav) != wav:
                ambiguous.add(key)
    return {key: wav for key, wav in keys.items() if key not in ambiguous or key == wav}
