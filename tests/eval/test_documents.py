"""docs/metrics.md names what the code prints; docs/metrics-compared.md compares it with every reference tool."""

import re
from pathlib import Path

import pytest

from simulst.eval.metrics.registry import display_of
from simulst.eval.score.inputs import report_log
from simulst.eval.segment.profiles import PROFILES

from .metric_table import replaced

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
COMPARED = (ROOT / "docs" / "metrics-compared.md").read_text(encoding="utf-8")
FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_described_and_compared(profile: str) -> None:
    assert f"| `{profile}` |" in TEXT
    assert f"#### `{profile}` against" in COMPARED


def test_every_metric_is_named() -> None:
    long = FIXTURES / "long_de"
    printed = set(report_log(FIXTURES / "short_de" / "instances.log").scores)
    printed |= set(report_log(long / "instances.log", long / "ref.txt", long / "segments.yaml").scores)
    for name in printed:
        stem = name.split("_")[0].removeprefix("Stream").removeprefix("Long")
        assert re.search(rf"\b{re.escape(stem)}", TEXT), name
        assert display_of(name).unit in ("ms", "", "%", "units")


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    assert replaced(TEXT) == TEXT, "run `python tests/eval/metric_table.py`"


def test_no_difference_in_the_tables_is_larger_than_a_thousandth() -> None:
    rows = re.findall(r"^\| (?!metric)[\w+]+ \| (.*) \|$", COMPARED, flags=re.M)
    differences = [cell for row in rows for cell in row.split(" | ")[2::3] if cell != "–" and "(a)" not in cell]
    assert len(differences) > 250
    assert max(abs(float(difference)) for difference in differences) <= 1e-3
