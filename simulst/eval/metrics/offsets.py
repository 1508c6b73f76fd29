"""When the first unit of a segment appears, and how long after the source the last one."""

from simulst.eval.metrics.metric import Metric, Need, View


def _first(view: View) -> float:
    return view.times[0]


def _last(view: View) -> float:
    return view.times[-1] - view.source_ms


NEEDS = frozenset({Need.TIMES, Need.LENGTH})

START_OFFSET = Metric(name="StartOffset", unit="ms", kind="latency", definition="`d_1`", needs=NEEDS, segment=_first)
END_OFFSET = Metric(name="EndOffset", unit="ms", kind="latency", definition="`d_n - L`", needs=NEEDS, segment=_last)
