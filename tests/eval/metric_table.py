"""Write the table of metrics into docs/metrics.md: `python tests/eval/metric_table.py`."""

from pathlib import Path

from simulst.eval.metrics.metric import Metric
from simulst.eval.metrics.registry import known_metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- metrics: python tests/eval/metric_table.py -->\n", "<!-- /metrics -->\n"


def metric_table() -> str:
    """A line per metric, as they come in the files of scores."""
    lines = ["| metric | unit | definition |", "| --- | --- | --- |"]
    lines += [f"| {_name(metric)} | {metric.unit} | {metric.definition} |" for metric in known_metrics()]
    return "\n".join(lines) + "\n"


def _name(metric: Metric) -> str:
    return f"{metric.name}, {metric.long_name} of recordings" if metric.long_name else metric.name


def replaced(page: str) -> str:
    """The page with the table as it is now."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{metric_table()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
