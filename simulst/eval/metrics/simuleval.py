"""Two figures that SimulEval prints of segments."""

from simulst.eval.metrics.metric import Metric, Need, View
from simulst.eval.segment.profiles import Profile


def _factor(view: View) -> float:
    return view.times[-1] / view.source_ms


def _units(view: View) -> float:
    return float(len(view.times))


def _short(profile: Profile) -> bool:
    return profile.prefix == ""


NEEDS = frozenset({Need.TIMES, Need.LENGTH})

RTF = Metric(
    name="RTF",
    unit="",
    kind="latency",
    definition="short form: `d_n / L`, as SimulEval calls it",
    needs=NEEDS,
    segment=_factor,
    when=_short,
)
NUM_CHUNKS = Metric(
    name="NumChunks",
    unit="units",
    kind="latency",
    definition="short form: `n`, as SimulEval calls it",
    needs=NEEDS,
    segment=_units,
    when=_short,
)
