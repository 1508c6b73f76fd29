"""From segments to a report: every metric of a profile, with its signature, and what a reader should know."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from simulst.eval.logs.instances import Instance
from simulst.eval.metrics.anticipation import anticipation
from simulst.eval.metrics.latency_table import Row, corpus_latency, degeneracy, run_ratios, segment_latency
from simulst.eval.metrics.quality import QualityCounts, bleu_tokenizer, comet_score, count_quality
from simulst.eval.score.profiles import Profile
from simulst.eval.score.signature import (
    clock_names,
    latency_signature,
    quality_signature,
    ratio_signature,
    segmenter_name,
)
from simulst.eval.segment.align import ScoredSegment
from simulst.eval.segment.units import Unit


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
    from_first_segment: bool = False
    """The log's times start at each recording's first segment."""
    comet: str = ""
    """COMET model; needs source sentences."""


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
        from simulst.eval.score.tables import write_score_files

        write_score_files(self, Path(folder))


def assemble(
    segments: list[ScoredSegment],
    instances: Sequence[Instance],
    profile: Profile,
    settings: Options,
    *,
    notes: Sequence[str] = (),
    quality: bool = True,
) -> ScoreReport:
    """Score segments; `quality=False` leaves BLEU and its like out."""
    rows = _uniform([segment_latency(segment, profile) for segment in segments])
    latencies = _corpus_numbers(segments, instances, profile, settings, rows)
    signatures = _latency_signatures(latencies, rows, instances, profile, settings)
    scores, counts = dict(latencies), None
    if quality:
        counts, points, signed = _quality(segments, profile, settings)
        scores, signatures = points | latencies, signed | signatures
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


def _uniform(rows: list[Row]) -> list[Row]:
    """Every metric in every row: an empty hypothesis has no clocks of its own."""
    names = dict.fromkeys(name for row in sorted(rows, key=len, reverse=True)[:1] for name in row)
    return [{name: row.get(name) for name in (*names, *row)} for row in rows]


def _corpus_numbers(
    segments: Sequence[ScoredSegment],
    instances: Sequence[Instance],
    profile: Profile,
    settings: Options,
    rows: Sequence[Row],
) -> dict[str, float]:
    numbers = corpus_latency(rows)
    if profile.name == "omnisteval" and profile.prefix == "":
        numbers |= degeneracy(segments, rows)
    numbers |= anticipation(instances)
    numbers |= run_ratios(instances, sum(len(instance.units(settings.unit)) for instance in instances), profile)
    return numbers


def _latency_signatures(
    names: Sequence[str] | dict[str, float],
    rows: Sequence[Row],
    instances: Sequence[Instance],
    profile: Profile,
    settings: Options,
) -> dict[str, str]:
    ca, backlog = clock_names(instances, profile)
    compute = "chunks" if all(instance.chunks for instance in instances) else "last-emission"
    return {
        name: ratio_signature(unit=settings.unit, profile=profile, compute=compute)
        if not any(name in row for row in rows)
        else latency_signature(
            name,
            unit=settings.unit,
            lang=settings.lang,
            profile=profile,
            segmenter=_segmenter(profile, settings),
            ca=ca,
            backlog=backlog,
            counted=sum(row.get(name) is not None for row in rows),
        )
        for name in names
    }


def _segmenter(profile: Profile, settings: Options) -> str:
    return segmenter_name(profile, unit=settings.unit, lang=settings.lang, band=settings.band, moses=settings.moses)


def _quality(
    segments: Sequence[ScoredSegment], profile: Profile, settings: Options
) -> tuple[QualityCounts, dict[str, float], dict[str, str]]:
    """Counts, scores and signatures; OmniSTEval's extra rows on NFKC text where that changes anything."""
    tokenizer = settings.tokenizer or bleu_tokenizer(settings.lang)
    hypotheses, references = [s.prediction for s in segments], [s.reference for s in segments]
    counts = count_quality(hypotheses, references, tokenizer)
    points, signatures = counts.scores(), dict(counts.signatures)
    if settings.comet:
        points["COMET"] = comet_score([s.source for s in segments], hypotheses, references, settings.comet)
        signatures["COMET"] = f"model:{settings.comet}"
    if profile.name == "omnisteval":
        normal = [[unicodedata.normalize("NFKC", text) for text in texts] for texts in (hypotheses, references)]
        if normal != [hypotheses, references]:
            normalised = count_quality(normal[0], normal[1], tokenizer)
            for name in ("BLEU", "chrF2"):
                points[f"{name}_NFKC"] = normalised.scores()[name]
                signatures[f"{name}_NFKC"] = f"{normalised.signatures[name]}|text:nfkc"
    segmenter = _segmenter(profile, settings)
    signed = {
        name: quality_signature(text, profile=profile, unit=settings.unit, segmenter=segmenter)
        for name, text in signatures.items()
    }
    return counts, points, signed


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


def merged(report: ScoreReport, extra: ScoreReport) -> ScoreReport:
    """The report with the metrics of `extra` that it lacks."""
    rows = [b | a for a, b in zip(report.segment_scores, extra.segment_scores, strict=True)]
    return replace(
        report,
        scores=report.scores | {k: v for k, v in extra.scores.items() if k not in report.scores},
        signatures=extra.signatures | report.signatures,
        segment_scores=rows,
    )
