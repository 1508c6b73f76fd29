"""What changed from one run to another over the same segments: scores with a paired test, and segment by segment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from simulst.errors import DataError
from simulst.eval.metrics.metric import Kind
from simulst.eval.metrics.registry import without_clock
from simulst.eval.score.runs import Run, latency_metric, same_segments
from simulst.eval.score.significance import DEFAULT_RESAMPLES, Comparison, compare, resampling_weights
from simulst.eval.score.tables import SegmentRow

SIGNIFICANT = 0.05
"""p-value below which two runs are said to differ (Koehn 2004)."""
QUALITY = "BLEU"
SEGMENT_QUALITY = "chrF2"
"""BLEU says little about a single sentence."""
Order = Literal["words", "quality", "latency"]
Verdict = Literal["better", "worse", "not told apart"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One score of both runs."""

    metric: str
    unit: str
    kind: Kind
    old: float
    new: float
    test: Comparison

    @property
    def verdict(self) -> Verdict:
        """Whether the new run is better: quality should be high, latency low."""
        if self.test.p_value >= SIGNIFICANT or not self.test.difference:
            return "not told apart"
        return "better" if (self.test.difference > 0) == (self.kind == "quality") else "worse"


@dataclass(frozen=True, kw_only=True)
class SegmentChange:
    """One segment of both runs; differences are new - old, None where one of them has no value."""

    index: int
    wav: str
    offset_s: float | None
    old: str
    new: str
    words: int
    """How many words were replaced, removed or added."""
    quality: float | None
    latency: float | None
    marked: str
    """Both texts in one line: what was taken out as [-old-], what came in as {+new+}."""

    def size(self, order: Order) -> float | None:
        """What segments are ordered by; None where it is not known."""
        if order == "words":
            return self.words
        return self.quality if order == "quality" else self.latency


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Two runs side by side."""

    changes: tuple[Change, ...]
    segments: tuple[SegmentChange, ...]
    latency: str
    """The latency metric of `segments`; "" where the runs have none in common."""

    def leading(self) -> tuple[Change, ...]:
        """Quality and latency: what a guard looks at."""
        return tuple(change for change in self.changes if change.metric in (QUALITY, self.latency))

    def worse(self) -> tuple[Change, ...]:
        """Which of the leading scores got worse by more than chance explains."""
        return tuple(change for change in self.leading() if change.verdict == "worse")

    def by(self, order: Order) -> list[SegmentChange]:
        """Segments that differ, the largest difference first."""
        sizes = [(abs(segment.size(order) or 0.0), segment) for segment in self.segments]
        return [segment for size, segment in sorted(sizes, key=lambda one: -one[0]) if size]


def differences(old: Run, new: Run, *, latency: str = "", resamples: int = DEFAULT_RESAMPLES) -> Differences:
    """Compare two runs; DataError where they do not translate the same segments or `latency` is not in both."""
    if not same_segments([old, new]):
        raise DataError(
            f"{old.folder} ({len(old.rows)} segments) and {new.folder} ({len(new.rows)}) do not translate the same "
            "segments; compare runs over one test set."
        )
    if not latency and old.has_latency and new.has_latency:
        latency = latency_metric([old, new])
    elif latency:
        latency = latency_metric([old, new], latency)
    found = compare(old.sample(), new.sample(), resampling_weights(len(old.rows), resamples))
    changes = tuple(_changes(old, new, found))
    return Differences(changes=changes, segments=tuple(_segments(old.rows, new.rows, latency)), latency=latency)


def _changes(old: Run, new: Run, found: dict[str, Comparison]) -> Iterator[Change]:
    """Quality and delays under the ideal clock that have a test, with the values that the runs themselves tell."""
    for metric, test in found.items():
        display = new.display(metric)
        compared = display.kind == "quality" or (display.kind == "latency" and display.unit == "ms")
        if not compared or metric != without_clock(metric) or not _known(metric, old, new):
            continue
        yield Change(
            metric=metric,
            unit=display.unit,
            kind=display.kind,
            old=old.scores[metric],
            new=new.scores[metric],
            test=test,
        )


def _known(metric: str, *runs: Run) -> bool:
    return all(metric in run.scores for run in runs)


def _segments(old: Sequence[SegmentRow], new: Sequence[SegmentRow], latency: str) -> Iterator[SegmentChange]:
    for before, after in zip(old, new, strict=True):
        words, marked = changed_words(before.prediction, after.prediction)
        yield SegmentChange(
            index=after.index,
            wav=after.wav,
            offset_s=None if after.offset_ms is None else after.offset_ms / 1000,
            old=before.prediction,
            new=after.prediction,
            words=words,
            quality=_difference(before, after, SEGMENT_QUALITY),
            latency=_difference(before, after, latency),
            marked=marked,
        )


def _difference(before: SegmentRow, after: SegmentRow, name: str) -> float | None:
    old, new = before.scores.get(name), after.scores.get(name)
    return None if old is None or new is None else new - old


def changed_words(old: str, new: str) -> tuple[int, str]:
    """(how many words differ, both texts in one line with [-old-] and {+new+} where they do)."""
    a, b = old.split(), new.split()
    parts, count = list[str](), 0
    for tag, first, last, begin, end in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            parts += a[first:last]
            continue
        count += max(last - first, end - begin)
        parts += [f"[-{' '.join(a[first:last])}-]"] if first < last else []
        parts += [f"{{+{' '.join(b[begin:end])}+}}"] if begin < end else []
    return count, " ".join(parts)
