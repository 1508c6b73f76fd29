"""One scorer for every profile: a run log and references in; named scores, signatures and a segment table out."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from simulst.core.settings import read
from simulst.errors import DataError
from simulst.eval.data.segmentation import Segment, read_lines, read_references, read_segmentation
from simulst.eval.logs.instances import Instance
from simulst.eval.logs.units import UNITS, Unit
from simulst.eval.metrics.registry import chosen_metrics
from simulst.eval.score.scoring import Options as Options
from simulst.eval.score.scoring import ScoreReport as ScoreReport
from simulst.eval.score.scoring import assemble, merged, needing_sources
from simulst.eval.segment.align import ScoredSegment, long_segments, short_segments
from simulst.eval.segment.profiles import PROFILES, Profile, get_profile
from simulst.eval.segment.recordings import match_recordings, shift_to_first_segment
from simulst.eval.segment.resegmentation import Band


def score_instances(
    instances: Sequence[Instance],
    references: Sequence[str] | None = None,
    segmentation: Sequence[Segment] | None = None,
    unit: Unit = "word",
    lang: str = "",
    profile: str = "auto",
    **options: Any,
) -> dict[str, float]:
    """Score instances in memory; see `report_instances`."""
    return report_instances(
        instances, references, segmentation, unit=unit, lang=lang, profile=profile, **options
    ).scores


def report_log(
    log: str | os.PathLike[str],
    references: str | os.PathLike[str] | None = None,
    segmentation: str | os.PathLike[str] | None = None,
    *,
    log_config: str | os.PathLike[str] | None = None,
    sources: str | os.PathLike[str] | None = None,
    unit: Unit = "word",
    **options: Any,
) -> ScoreReport:
    """Score a SimulEval, simulstream (with its `log_config`) or OmniSTEval log against a file of references.

    `sources`: one source sentence per reference, for COMET and the tables. `options` are the fields of
    `Options`. DataError when a file cannot be used or the files do not fit together.
    """
    from simulst.eval.logs.formats import read_log

    instances, notes = read_log(log, unit=unit, config=log_config)
    texts = read_references(references) if references is not None else None
    segments = None
    if segmentation is not None:
        if texts is None:
            raise DataError("Long-form scoring needs --references with one line per segment.")
        segments = read_segmentation(segmentation, texts)
    return report_instances(
        instances,
        texts,
        segments,
        sources=read_lines(sources) if sources is not None else None,
        notes=notes,
        name=Path(segmentation or "").name,
        unit=unit,
        **options,
    )


def report_instances(
    instances: Sequence[Instance],
    references: Sequence[str] | None = None,
    segmentation: Sequence[Segment] | None = None,
    *,
    sources: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    name: str = "the segmentation",
    **options: Any,
) -> ScoreReport:
    """Score instances: with `segmentation` (which carries references) one per recording, without it one per segment.

    `name` is what messages call the segmentation.
    """
    settings = scoring_options(options)
    return report_with(settings, instances, references, segmentation, sources=sources, notes=notes, name=name)


def report_with(
    settings: Options,
    instances: Sequence[Instance],
    references: Sequence[str] | None = None,
    segmentation: Sequence[Segment] | None = None,
    *,
    sources: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    name: str = "the segmentation",
) -> ScoreReport:
    """`report_instances` with options that have been checked."""
    for name in () if sources else needing_sources(settings):
        raise DataError(f"{name} needs the source sentences; give --sources FILE with one line per reference.")
    if not instances:
        raise DataError("The log has no instances; nothing can be scored.")
    profile = get_profile(settings.profile, long_form=segmentation is not None)
    if settings.raw_elapsed:
        profile = replace(profile, repair="none")
    if segmentation is None:
        if profile.name == "omnisteval" and any("time_to_recording_end" in one.extra for one in instances):
            profile = replace(profile, prefix="Long", counting="no-spaces")  # segments of recordings, cut before
        segments = short_segments(_with_references(instances, references), profile, settings.unit)
        return assemble(_with_sources(segments, sources), instances, profile, settings, notes=notes)
    if settings.from_first_segment:
        segmentation = shift_to_first_segment(segmentation)
    report = _report_long(segmentation, instances, profile, settings, name, notes, sources)
    if settings.profile == "auto":
        extra = _report_long(
            segmentation, instances, PROFILES["omnisteval"], settings, name, (), sources, quality=False
        )
        report = merged(report, extra)
    return report


def scoring_options(options: Mapping[str, object]) -> Options:
    """Checked; DataError for an unknown option, unit or metric."""
    known = [item.name for item in fields(Options)]
    if unknown := set(options) - set(known):
        raise DataError(f"Unknown scoring option {sorted(unknown)[0]!r}; known: {', '.join(known)}.")
    unit, metrics = options.get("unit", "word"), options.get("metrics", ())
    if unit not in UNITS:
        raise DataError(f"Unknown unit {unit!r}; known: word, char.")
    if not isinstance(metrics, list | tuple) or not all(isinstance(spec, str) for spec in metrics):
        raise DataError(f"`metrics` must be a list of file.py:NAME, but is {metrics!r}.")
    chosen_metrics(metrics)
    return read(Options, options, "the scoring options", DataError)


def _report_long(
    segmentation: Sequence[Segment],
    instances: Sequence[Instance],
    profile: Profile,
    settings: Options,
    name: str,
    notes: Sequence[str],
    sources: Sequence[str] | None,
    quality: bool = True,
) -> ScoreReport:
    from simulst.eval.segment.moses import moses_tokeniser

    recordings = match_recordings(segmentation, instances, name)
    tokenise = moses_tokeniser(settings.lang) if settings.moses and profile.segmenter == "soft" else None
    band = Band() if settings.band else None
    segments = long_segments(recordings, profile, settings.unit, band=band, tokenise=tokenise)
    segments = _with_sources(segments, sources)
    return assemble(segments, instances, profile, settings, notes=notes, quality=quality)


def _with_sources(segments: list[ScoredSegment], sources: Sequence[str] | None) -> list[ScoredSegment]:
    if sources is None:
        return segments
    if len(sources) != len(segments):
        raise DataError(
            f"There are {len(sources)} source sentences but {len(segments)} references; the counts must match."
        )
    return [replace(segment, source=text) for segment, text in zip(segments, sources, strict=True)]


def _with_references(instances: Sequence[Instance], references: Sequence[str] | None) -> list[Instance]:
    """Instances by index, line k of the references for index k; without references the log's own are used."""
    ordered = sorted(instances, key=lambda instance: instance.index)
    if len({instance.index for instance in ordered}) < len(ordered):
        if any(instance.cumulative for instance in ordered):
            first = next(a for a, b in pairwise(ordered) if a.index == b.index)
            raise DataError(f"{first.where}: index {first.index} occurs twice; keep one of the lines.")
        ordered = list(instances)  # OmniSTEval logs have no index: the order of the lines counts
    if references is None:
        if missing := [instance for instance in ordered if instance.reference is None]:
            raise DataError(f"{missing[0].where}: no `reference` in the log; give --references.")
        return ordered
    if len(references) != len(ordered):
        raise DataError(
            f"The log has {len(ordered)} instances but there are {len(references)} references; the counts must match "
            f"(recordings that are to be cut into segments need --segmentation)."
        )
    return [replace(instance, reference=text) for instance, text in zip(ordered, references, strict=True)]
