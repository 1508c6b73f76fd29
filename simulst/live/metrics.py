"""Counters of a live server in Prometheus' text format."""

import bisect
from collections import defaultdict
from collections.abc import Iterable

LAG_BUCKETS_S = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0)


class Metrics:
    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._lags = [0] * (len(LAG_BUCKETS_S) + 1)
        self._lag_sum_s = 0.0

    def count(self, name: str, amount: float = 1, *, label: str = "") -> None:
        """Add to a counter; `label` is like `code="busy"`."""
        self._counts[name, label] += amount

    def lag(self, seconds: float) -> None:
        self._lags[bisect.bisect_left(LAG_BUCKETS_S, seconds)] += 1
        self._lag_sum_s += seconds

    def text(self, gauges: Iterable[tuple[str, float]]) -> str:
        """One document with the counters, the histogram of lags, and `gauges`."""
        lines: list[str] = []
        for name in sorted({name for name, _ in self._counts}):
            lines.append(f"# TYPE simulst_{name} counter")
            for (own, label), value in sorted(self._counts.items()):
                if own == name:
                    lines.append(f"simulst_{name}{{{label}}} {value:g}" if label else f"simulst_{name} {value:g}")
        lines.append("# TYPE simulst_lag_seconds histogram")
        total = 0
        for limit, hits in zip([*map(str, LAG_BUCKETS_S), "+Inf"], self._lags, strict=True):
            total += hits
            lines.append(f'simulst_lag_seconds_bucket{{le="{limit}"}} {total}')
        lines += [f"simulst_lag_seconds_sum {self._lag_sum_s:g}", f"simulst_lag_seconds_count {total}"]
        for name, value in gauges:
            lines += [f"# TYPE simulst_{name} gauge", f"simulst_{name} {value:g}"]
        return "\n".join(lines) + "\n"
