"""A metric of one's own, in one file.

    simulst score instances.log --metric examples/my_metric.py:LONGEST_WAIT --output scored
    simulst evaluate examples/corpus/en-de/data/tst-COMMON --metric examples/my_metric.py:LONGEST_WAIT --output run

How long does a reader look at a line that does not change? The scores, with intervals and signatures, are in
scores.json and scores.tsv like the others, and the value of each segment is in segments.tsv. `simulst report` and
`simulst curve` show them without this file.
"""

from itertools import pairwise

from simulst.eval.metrics.metric import Metric, Need, Shown, View


def longest_wait(view: View) -> float:
    """Most ms between two writes, or before the first; `times` has at least one unit, under the clock that is asked."""
    shown = [0.0, *sorted(view.times)]
    return max(later - earlier for earlier, later in pairwise(shown))


LONGEST_WAIT = Metric(
    name="LongestWait",
    unit="ms",
    kind="latency",
    needs=frozenset({Need.TIMES}),
    segment=longest_wait,
    shown=Shown(summary=True, card="longest wait without a new word", column="longest wait (ms)"),
)
