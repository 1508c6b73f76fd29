"""OmniSTEval's short-form test for systems that speak only at the end, in percent.

SWF: units emitted before their segment's end. EFSW: the share of the source that is left after YAAL.
DSPTV = EFSW - SWF; more than 20 either way is suspicious.
"""

from typing import NamedTuple

from simulst.eval.metrics.metric import Corpus, Metric
from simulst.eval.segment.profiles import Profile


class Degeneracy(NamedTuple):
    swf: float
    efsw: float


def degeneracy(run: Corpus) -> Degeneracy | None:
    """None without units that have times, or without any YAAL."""
    timed = [(s, row) for s, row in zip(run.segments, run.rows, strict=True) if s.times.get("") and s.source_length_ms]
    units = sum(len(s.units) for s, _ in timed)
    before = sum(time < (s.source_length_ms or 0.0) for s, _ in timed for time in s.times[""])
    lags = [(s.source_length_ms or 0.0, lag) for s, row in timed if (lag := row.get("YAAL")) is not None]
    if not units or not lags:
        return None
    efsw = 100.0 * sum(max(0.0, length - lag) for length, lag in lags) / sum(length for length, _ in lags)
    return Degeneracy(swf=100.0 * before / units, efsw=efsw)


def _swf(run: Corpus) -> float | None:
    found = degeneracy(run)
    return found and found.swf


def _efsw(run: Corpus) -> float | None:
    found = degeneracy(run)
    return found and found.efsw


def _dsptv(run: Corpus) -> float | None:
    found = degeneracy(run)
    return found and found.efsw - found.swf


def _omnisteval_short(profile: Profile) -> bool:
    return profile.name == "omnisteval" and profile.prefix == ""


SWF = Metric(
    name="SWF",
    unit="%",
    kind="run",
    definition="`omnisteval` short form: units emitted before the end of their segment",
    corpus=_swf,
    when=_omnisteval_short,
)
EFSW = Metric(
    name="EFSW",
    unit="%",
    kind="run",
    definition="`omnisteval` short form: the share of the source that is left after YAAL",
    corpus=_efsw,
    when=_omnisteval_short,
)
DSPTV = Metric(
    name="DSPTV",
    unit="%",
    kind="run",
    definition="`omnisteval` short form: EFSW - SWF; more than 20 either way is suspicious",
    corpus=_dsptv,
    when=_omnisteval_short,
)
