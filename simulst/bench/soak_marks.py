"""What `simulst bench soak` notes at every mark of a long run, and how it changes from one to the next."""

import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

import psutil

MARKS_OF_A_SHORT_RUN = 10
HALF_HOUR_S = 1_800.0
WARM_UP_S = 300.0
"""Audio in which caches, code that compiles itself and the allocator's arenas fill."""
Z = statistics.NormalDist().inv_cdf(0.975)
TRENDS = {
    "rss_mb": ("memory", "MB"),
    "text_mb": ("  of it text kept", "MB"),
    "cpu_rtf": ("CPU", "s per s"),
    "lag_median_s": ("lag", "s"),
    "words": ("words of a stretch", ""),
    "files": ("open files", ""),
    "threads": ("threads", ""),
}
"""Column -> how its slope is called, and its unit."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One stretch of the run: totals of it, and the state at its end."""

    hours: float
    """Audio until here."""
    rss_mb: float
    text_mb: float = 0.0
    """Text of one session: what it keeps until its end whatever its policy."""
    cpu_rtf: float
    """CPU seconds per second of audio."""
    lag_median_s: float
    lag_p95_s: float
    words: int
    words_lost: int
    files: int
    threads: int
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class Slope:
    """Change per hour of audio, least squares, with its 95 % interval."""

    per_hour: float
    low: float
    high: float

    @property
    def is_flat(self) -> bool:
        """Zero lies in the interval."""
        return self.low <= 0 <= self.high


@dataclass
class Stretch:
    """What happened since the last mark."""

    lags_s: list[float] = field(default_factory=list)
    words: int = 0
    words_lost: int = 0


Report = Callable[[Mark], None]


class Marks:
    """Marks of a run of `total_s` of audio; `report` is called with each as it is made.

    `cpu_s` is the clock of the CPU time that the run is charged with.
    """

    def __init__(self, total_s: float, process: psutil.Process, cpu_s: Callable[[], float], report: Report) -> None:
        self.every_s = interval_s(total_s)
        self.marks: list[Mark] = []
        self.now = Stretch()
        self._total_s = total_s
        self._process = process
        self._report = report
        self.text_bytes = 0
        self._cpu_s = cpu_s
        self._cpu_before, self._audio_before, self._began = cpu_s(), 0.0, time.monotonic()

    @property
    def complete(self) -> bool:
        """The run has come to its end."""
        return self._audio_before >= self._total_s - 1e-6

    def due(self, audio_s: float) -> bool:
        """Whether the next mark has been reached, or the end has."""
        passed = int((self._audio_before + 1e-6) / self.every_s)
        return audio_s >= min(self.every_s * (passed + 1), self._total_s) - 1e-6

    def make(self, audio_s: float) -> None:
        """Note the stretch up to here and begin the next one."""
        cpu_s, wall = self._cpu_s(), time.monotonic()
        lags = sorted(self.now.lags_s) or [math.nan]
        mark = Mark(
            hours=round(audio_s / 3_600, 4),
            rss_mb=round(self._process.memory_info().rss / 2**20, 2),
            text_mb=round(self.text_bytes / 2**20, 4),
            cpu_rtf=round((cpu_s - self._cpu_before) / (audio_s - self._audio_before), 5),
            lag_median_s=round(statistics.median(lags), 3),
            lag_p95_s=round(lags[min(len(lags) - 1, int(0.95 * len(lags)))], 3),
            words=self.now.words,
            words_lost=self.now.words_lost,
            files=self._process.num_fds(),
            threads=self._process.num_threads(),
            wall_s=round(wall - self._began, 1),
        )
        self.marks.append(mark)
        self.now, self._cpu_before, self._audio_before, self._began = Stretch(), cpu_s, audio_s, wall
        self._report(mark)

    def slopes(self) -> dict[str, Slope]:
        """Of every column in `TRENDS`; empty where there are too few marks.

        Marks of the warm-up are left out, the first in any case; so is a last stretch that is not whole.
        """
        later = [mark for mark in self.marks[1:] if self._whole(mark)]
        kept = [mark for mark in later if mark.hours * 3_600 > WARM_UP_S] if self._total_s > 2 * WARM_UP_S else later
        if len(kept) < 3:
            return {}
        hours = [mark.hours for mark in kept]
        return {name: slope_of(hours, [float(vars(mark)[name]) for mark in kept]) for name in TRENDS}

    def _whole(self, mark: Mark) -> bool:
        at = self.marks.index(mark)
        before = self.marks[at - 1].hours if at else 0.0
        return mark.hours - before > 0.9 * self.every_s / 3_600


def interval_s(total_s: float) -> float:
    """Audio from mark to mark: half an hour, less where the run is so short that there would be fewer than ten."""
    return min(HALF_HOUR_S, total_s / MARKS_OF_A_SHORT_RUN)


def slope_of(xs: list[float], ys: list[float]) -> Slope:
    """Least squares through three points or more; the interval is Student's."""
    fit = statistics.linear_regression(xs, ys)
    errors = [y - fit.intercept - fit.slope * x for x, y in zip(xs, ys, strict=True)]
    middle = statistics.fmean(xs)
    freedom = len(xs) - 2
    spread = math.sqrt(math.fsum(e * e for e in errors) / freedom / math.fsum((x - middle) ** 2 for x in xs))
    reach = _t(freedom) * spread
    return Slope(per_hour=fit.slope, low=fit.slope - reach, high=fit.slope + reach)


def _t(freedom: int) -> float:
    """97.5 % quantile of Student's t: exact for one and two degrees of freedom, else within 0.7 % (Cornish-Fisher)."""
    if freedom <= 2:
        return (math.tan(math.pi * 0.475), 0.95 / math.sqrt(2 * 0.975 * 0.025))[freedom - 1]
    n = float(freedom)
    return (
        Z
        + (Z**3 + Z) / (4 * n)
        + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * n**2)
        + (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / (384 * n**3)
    )


HEADER = (
    f"{'hours':>7}{'memory MB':>11}{'CPU s/s':>9}{'lag s':>8}{'p95 s':>8}{'words':>8}{'lost':>6}{'files':>7}"
    f"{'threads':>9}{'clock s':>9}"
)


def row(mark: Mark) -> str:
    """A line of the table under `HEADER`."""
    return (
        f"{mark.hours:>7.3g}{mark.rss_mb:>11.1f}{mark.cpu_rtf:>9.4f}{mark.lag_median_s:>8.2f}{mark.lag_p95_s:>8.2f}"
        f"{mark.words:>8}{mark.words_lost:>6}{mark.files:>7}{mark.threads:>9}{mark.wall_s:>9.0f}"
    )


def trend_lines(slopes: dict[str, Slope]) -> list[str]:
    """One line for each slope."""
    if not slopes:
        return ["too few stretches for slopes: run longer"]
    lines = ["slopes per hour of audio after the warm-up, with 95 % intervals:"]
    for name, slope in slopes.items():
        title, unit = TRENDS[name]
        verdict = "flat" if slope.is_flat else "rises" if slope.per_hour > 0 else "falls"
        figures = f"{slope.per_hour:+.4f} [{slope.low:+.4f}, {slope.high:+.4f}]"
        lines.append(f"  {title:<20}{figures} {unit:<8}{verdict}")
    return lines


def printer(as_json: bool) -> Report:
    """Shows every mark at once: in the table, or on stderr where stdout gets a JSON document."""
    stream = sys.stderr if as_json else sys.stdout
    print(HEADER, file=stream, flush=True)
    return lambda mark: print(row(mark), file=stream, flush=True)


def dump(found: Mapping[str, object], marks: Marks) -> str:
    """The run as one JSON object."""
    slopes = {name: asdict(slope) | {"flat": slope.is_flat} for name, slope in marks.slopes().items()}
    return json.dumps({**found, "marks": [asdict(mark) for mark in marks.marks], "slopes_per_hour": slopes})
