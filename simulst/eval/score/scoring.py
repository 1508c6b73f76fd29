"""From segments to a report: every metric of a profile, with its signature, and what a reader should know."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from simulst.core.glossary import read_glossary
from simulst.eval.logs.instances import Instance
from simulst.eval.logs.units import Unit
from simulst.eval.metrics.bleu import bleu_tokenizer
from simulst.eval.metrics.metric import Corpus, Counts, Kind, Metric, Need, Texts, counted
from simulst.eval.metrics.registry import chosen_metrics
from simulst.eval.score.measure import Cells, columns, means, segment_rows
from simulst.eval.score.signature import Signer
from simulst.eval.score.significance import Sample
from simulst.eval.score.tables import segment_table, write_score_files
from simulst.eval.segment.align import CLOCKS, ScoredSegment
from simulst.eval.segment.profiles import Profile


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
    metrics: Sequence[str] = ()
    """Metrics of one's own, each `file.py:NAME`."""
    terms: str = ""
    """File of terms for TERM_ACC, `source<TAB>target` on each line."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreReport:
    """Scores of one run, each with the signature that makes it reproducible."""

    scores: dict[str, float]
    """Milliseconds, points, or ratios; a metric that is undefined for this run is absent and named in `notes`."""
    signatures: dict[str, str]
    segments: list[ScoredSegment]
    segment_scores: list[Cells]
    """What was measured on each segment, None where it is undefined."""
    counts: dict[str, Counts]
    """Of the metrics that are scored from sums of counts."""
    metrics: dict[str, Metric]
    """The metric of each score."""
    notes: list[str] = field(default_factory=list)
    profile: str = ""
    unit: Unit = "word"
    lang: str = ""

    def sample(self) -> Sample:
        """What can be resampled."""
        return Sample.of(self.segment_scores, self.counts)

    def summary(self) -> dict[str, str]:
        """The scores that are shown first, with their units."""
        order = sorted(self.metrics.items(), key=lambda pair: (KINDS.index(pair[1].kind), bool(pair[1].origin)))
        return {name: metric.unit for name, metric in order if name in self.scores and _in_summary(name, metric)}

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write scores.json (flat), scores.tsv (with signatures) and segments.tsv (times and both texts)."""
        alone = {name: counts.alone() for name, counts in self.counts.items() if self.metrics[name].shown.segments}
        rows = [row | {name: values[i] for name, values in alone.items()} for i, row in enumerate(self.segment_scores)]
        write_score_files(Path(folder), self.scores, self.signatures, segment_table(self.segments, rows))


KINDS: tuple[Kind, ...] = ("quality", "latency", "run")
"""In the order of the tables."""


def _in_summary(name: str, metric: Metric) -> bool:
    shown = metric.shown.summary
    return name in shown if isinstance(shown, tuple) else shown and not name.endswith(CLOCKS[1:])


def assemble(
    segments: list[ScoredSegment],
    instances: Sequence[Instance],
    profile: Profile,
    settings: Options,
    *,
    notes: Sequence[str] = (),
    quality: bool = True,
) -> ScoreReport:
    """Score segments by every metric of the profile; `quality=False` leaves BLEU and its like out."""
    metrics = [m for m in chosen_metrics(settings.metrics) if m.when(profile) and (quality or m.kind != "quality")]
    rows = segment_rows(segments, metrics, profile.prefix)
    run = _corpus(segments, instances, rows, profile, settings)
    counts = counted(metrics, run.texts, profile.prefix)
    scores, owners = _scores(run, metrics, counts)
    signer = Signer(
        profile=profile,
        unit=settings.unit,
        lang=settings.lang,
        band=settings.band,
        moses=settings.moses,
        instances=instances,
    )
    return ScoreReport(
        scores=scores,
        signatures={name: _signature(signer, name, owners[name], run, counts) for name in scores},
        segments=segments,
        segment_scores=rows,
        counts=counts,
        metrics=owners,
        notes=[*notes, *_notes(segments, instances)],
        profile=settings.profile if settings.profile == "auto" else profile.name,
        unit=settings.unit,
        lang=settings.lang,
    )


def needing_sources(settings: Options) -> list[str]:
    """Names of the chosen metrics that need source sentences."""
    own = [metric.name for metric in chosen_metrics(settings.metrics) if Need.SOURCES in metric.needs]
    return [*(["COMET"] if settings.comet else []), *own]


def _corpus(
    segments: Sequence[ScoredSegment],
    instances: Sequence[Instance],
    rows: Sequence[Cells],
    profile: Profile,
    settings: Options,
) -> Corpus:
    texts = Texts(
        hypotheses=[segment.prediction for segment in segments],
        references=[segment.reference for segment in segments],
        sources=[segment.source for segment in segments],
        tokenizer=settings.tokenizer or bleu_tokenizer(settings.lang),
        terms=read_glossary(Path(settings.terms)).terms if settings.terms else (),
    )
    return Corpus(
        segments=segments,
        instances=instances,
        rows=rows,
        texts=texts,
        profile=profile,
        unit=settings.unit,
        comet=settings.comet,
    )


def _scores(
    run: Corpus, metrics: Sequence[Metric], counts: Mapping[str, Counts]
) -> tuple[dict[str, float], dict[str, Metric]]:
    """Quality first, then what was averaged, then the figures of the whole run; and whose score each of them is."""
    prefix = run.profile.prefix
    by_name = {name: metric for metric in metrics for name in columns(metric, prefix, CLOCKS)}
    averaged = means(run.rows)
    once = {
        metric.printed(prefix): value
        for metric in metrics
        if metric.corpus is not None and (value := metric.corpus(run)) is not None
    }
    scored = {name: found.total() for name, found in counts.items()} | once
    qualities = {name: value for name, value in (scored | averaged).items() if by_name[name].kind == "quality"}
    scores = qualities | averaged | scored
    return scores, {name: by_name[name] for name in scores}


def _signature(signer: Signer, name: str, metric: Metric, run: Corpus, counts: Mapping[str, Counts]) -> str:
    if name in counts:
        return signer.quality(metric, counts[name].signature)
    if metric.segment is not None:
        return signer.mean(metric, name, counted=sum(row.get(name) is not None for row in run.rows))
    return signer.quality(metric, metric.basis(run)) if metric.basis else signer.run(metric)


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
            notes.append(f"{instance.where or instance.source}: delays decrease; they are scored as they are.")
            break
    return notes


def merged(report: ScoreReport, extra: ScoreReport) -> ScoreReport:
    """The report with the metrics of `extra` that it lacks."""
    rows = [b | a for a, b in zip(report.segment_scores, extra.segment_scores, strict=True)]
    return replace(
        report,
        scores=report.scores | {k: v for k, v in extra.scores.items() if k not in report.scores},
        metrics=report.metrics | extra.metrics,
        signatures=extra.signatures | report.signatures,
        segment_scores=rows,
    )
