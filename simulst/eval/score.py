"""One scorer for every profile: a run log and references in; named scores, signatures and a segment table out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from simulst.errors import DataError
from simulst.eval.align import ScoredSegment, long_segments, short_segments
from simulst.eval.latency_table import Row, corpus_latency, degeneracy, run_ratios, segment_latency
from simulst.eval.logs import Instance
from simulst.eval.profiles import PROFILES, Profile, get_profile
from simulst.eval.quality import QualityCounts, bleu_tokenizer, count_quality
from simulst.eval.resegmentation import Band
from simulst.eval.segmentation import Segment, match_recordings, read_references, read_segmentation
from simulst.eval.signature import clock_names, latency_signature, quality_signature, segmenter_name
from simulst.eval.units import UNITS, Unit


@dataclass(frozen=True, kw_only=True)
class Options:
    """Choices that are not part of a profile."""

    unit: Unit = "word"
    lang: str = ""
    """Target language; chooses the BLEU tokenizer and nothing else."""
    profile: str = "auto"
    tokenizer: str = ""
    """sacrebleu tokenizer instead of the language's."""
    moses: bool = False
    """Moses tokens in the soft alignment (OmniSTEval's --lang)."""
    band: bool = False
    """Restrict the mWER alignment to segments near each emission."""
    raw_elapsed: bool = False
    """Leave cumulative elapsed times as they are in long form."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreReport:
    """Scores of one run, each with the signature that makes it reproducible."""

    scores: dict[str, float]
    """Milliseconds, points, or ratios; a metric that is undefined for this run is absent and named in `notes`."""
    signatures: dict[str, str]
    segments: list[ScoredSegment]
    segment_scores: list[Row]
    """Latency of each segment by metric, None where it has none."""
    quality: QualityCounts | None
    notes: list[str] = field(default_factory=list)
    profile: str = ""
    unit: Unit = "word"
    lang: str = ""

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write scores.json (flat), scores.tsv (with signatures) and segments.tsv (times and both texts)."""
        from simulst.eval.tables import write_score_files

        write_score_files(self, Path(folder))


def score_log(
    log: str | os.PathLike[str],
    references: str | os.PathLike[str] | None = None,
    segmentation: str | os.PathLike[str] | None = None,
    unit: Unit = "word",
    lang: str = "",
    profile: str = "auto",
    **options: Any,
) -> dict[str, float]:
    """Score a log file; see `report_log`."""
    return report_log(log, references, segmentation, unit=unit, lang=lang, profile=profile, **options).scores


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
    unit: Unit = "word",
    **options: Any,
) -> ScoreReport:
    """Score a SimulEval, simulstream (with its `log_config`) or OmniSTEval log against a file of references.

    `options` are the fields of `Options`. DataError when a file cannot be used or the files do not fit together.
    """
    from simulst.eval.formats import read_log

    instances, notes = read_log(log, unit=unit, config=log_config)
    texts = read_references(references) if references is not None else None
    segments = None
    if segmentation is not None:
        if texts is None:
            raise DataError("Long-form scoring needs --references with one line per segment.")
        segments = read_segmentation(segmentation, texts)
    return report_instances(
        instances, texts, segments, notes=notes, name=Path(segmentation or "").name, unit=unit, **options
    )


def report_instances(
    instances: Sequence[Instance],
    references: Sequence[str] | None = None,
    segmentation: Sequence[Segment] | None = None,
    *,
    notes: Sequence[str] = (),
    name: str = "the segmentation",
    **options: Any,
) -> ScoreReport:
    """Score instances: with `segmentation` (which carries references) one per recording, without it one per segment.

    `name` is what messages call the segmentation.
    """
    settings = _settings(options)
    if not instances:
        raise DataError("The log has no instances; nothing can be scored.")
    profile = get_profile(settings.profile, long_form=segmentation is not None)
    if settings.raw_elapsed:
        profile = replace(profile, repair="none")
    if segmentation is None:
        segments = short_segments(_with_references(instances, references), profile, settings.unit)
        return _report(segments, instances, profile, settings, notes)
    report = _report_long(segmentation, instances, profile, settings, name, notes)
    if settings.profile == "auto":
        extra = _report_long(segmentation, instances, PROFILES["omnisteval"], settings, name, (), quality=False)
        report = _merged(report, extra)
    return report


def _settings(options: dict[str, Any]) -> Options:
    known = [item.name for item in fields(Options)]
    if unknown := set(options) - set(known):
        raise DataError(f"Unknown scoring option {sorted(unknown)[0]!r}; choose from {', '.join(known)}.")
    settings = Options(**options)
    if settings.unit not in UNITS:
        raise DataError(f"Unknown unit {settings.unit!r}; choose word or char.")
    return settings


def _report_long(
    segmentation: Sequence[Segment],
    instances: Sequence[Instance],
    profile: Profile,
    settings: Options,
    name: str,
    notes: Sequence[str],
    quality: bool = True,
) -> ScoreReport:
    from simulst.eval.moses import moses_tokeniser

    recordings = match_recordings(segmentation, instances, name)
    tokenise = moses_tokeniser(settings.lang) if settings.moses and profile.segmenter == "soft" else None
    band = Band() if settings.band else None
    segments = long_segments(recordings, profile, settings.unit, band=band, tokenise=tokenise)
    return _report(segments, instances, profile, settings, notes, quality=quality)


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
            f"The log has {len(ordered)} instances but there are {len(references)} references; they must be as many "
            f"(recordings that are to be cut into segments need --segmentation)."
        )
    return [replace(instance, reference=text) for instance, text in zip(ordered, references, strict=True)]


def _report(
    segments: list[ScoredSegment],
    instances: Sequence[Instance],
    profile: Profile,
    settings: Options,
    notes: Sequence[str],
    quality: bool = True,
) -> ScoreReport:
    rows = [segment_latency(segment, profile) for segment in segments]
    latencies = corpus_latency(rows)
    if profile.name == "omnisteval" and profile.segmenter == "none":
        latencies |= degeneracy(segments, rows)
    ratios = run_ratios(instances, sum(len(instance.units(settings.unit)) for instance in instances))
    if profile.segmenter != "none" and "ComputeRTF" in ratios:
        ratios["RTF"] = ratios["ComputeRTF"]
    segmenter = segmenter_name(
        profile, unit=settings.unit, lang=settings.lang, band=settings.band, moses=settings.moses
    )
    ca, backlog = clock_names(instances, profile)
    signatures = {
        name: latency_signature(
            name,
            unit=settings.unit,
            lang=settings.lang,
            profile=profile,
            segmenter=segmenter,
            ca=ca,
            backlog=backlog,
            counted=sum(row.get(name) is not None for row in rows) or len(rows),
        )
        for name in (*latencies, *ratios)
    }
    counts = None
    scores = latencies | ratios
    if quality:
        tokenizer = settings.tokenizer or bleu_tokenizer(settings.lang)
        counts = count_quality([s.prediction for s in segments], [s.reference for s in segments], tokenizer)
        scores = counts.scores() | scores
        signatures |= {
            name: quality_signature(text, profile=profile, unit=settings.unit, segmenter=segmenter)
            for name, text in counts.signatures.items()
        }
    return ScoreReport(
        scores=scores,
        signatures=signatures,
        segments=segments,
        segment_scores=rows,
        quality=counts,
        notes=[*notes, *_notes(segments, instances)],
        profile=settings.profile if settings.profile == "auto" else profile.name,
        unit=settings.unit,
        lang=settings.lang,
    )


def _notes(segments: Sequence[ScoredSegment], instances: Sequence[Instance]) -> list[str]:
    """What a reader of the scores should know about the data."""
    notes = []
    empty = [segment for segment in segments if not segment.units]
    if len(empty) == len(segments):
        notes.append("No segment has a hypothesis: latency is undefined and BLEU and chrF are 0.")
    elif empty:
        notes.append(f"{len(empty)} of {len(segments)} segments have no hypothesis; they count in BLEU and chrF only.")
    if any(segment.units and not segment.times.get("") for segment in segments):
        notes.append("The log or the segmentation has no times: no latency.")
    lengthless = [segment for segment in segments if segment.times and not segment.source_length_ms]
    if lengthless:
        notes.append(f"{len(lengthless)} segments have no source length (the first: {lengthless[0].wav}): no latency.")
    if blank := sum(not segment.reference.strip() for segment in segments):
        notes.append(f"{blank} references are empty.")
    for instance in instances:
        if any(b < a for a, b in pairwise(instance.delays_ms)):
            notes.append(f"{instance.where or instance.source}: delays decrease; they are scored as they stand.")
            break
    return notes


def _merged(report: ScoreReport, extra: ScoreReport) -> ScoreReport:
    """The report with the metrics of `extra` that it lacks."""
    rows = [b | a for a, b in zip(report.segment_scores, extra.segment_scores, strict=True)]
    return replace(
        report,
        scores=report.scores | {k: v for k, v in extra.scores.items() if k not in report.scores},
        signatures=extra.signatures | report.signatures,
        segment_scores=rows,
    )
