"""The guard on simulst itself: the embedded model must not translate the bundled test set worse, or later, than it did.

Where weights or policies were changed on purpose, `simulst evaluate examples/corpus/en-de/data/tst-COMMON --policy
stream_att --output OUT` makes the run anew; its scores.tsv and segments.tsv go to tests/data/guard.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_embedded_model_is_not_worse_than_it_was(tmp_path: Path) -> None:
    corpus, before = ROOT / "examples/corpus/en-de/data/tst-COMMON", ROOT / "tests/data/guard"
    command = [sys.executable, "-m", "simulst", "evaluate", str(corpus), "--policy", "stream_att"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "run"), "--compare-to", str(before)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    compared = [line for line in done.stderr.splitlines() if line.startswith(("BLEU", "LAAL"))]
    assert [line.split()[0] for line in compared] == ["BLEU", "LAAL"]
