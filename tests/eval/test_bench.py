"""`simulst bench score`: what the reference tools cut, and the figures it must reach."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulst.bench.score import talk


def test_a_talk_is_the_same_every_time() -> None:
    hypothesis, references = talk(60, 7)
    assert (hypothesis, references) == talk(60, 7)
    assert [len(segment) for segment in references] == [15] * 4
    assert 45 < len(hypothesis) < 75


@pytest.mark.slow
def test_the_figures(tmp_path: Path) -> None:
    tool = shutil.which("mweralign")
    python = Path(tool).parent / "python" if tool else None
    # a child's peak memory counts what its parent was before exec, so pytest itself must not be the parent
    code = (
        "import json, pathlib, sys; from simulst.bench.score import measure; "
        "other = pathlib.Path(sys.argv[2]) if sys.argv[2] else None; "
        "print(json.dumps(measure(pathlib.Path(sys.argv[1]), 1, other)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(python or "")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["resegment_1h_cpu_s"] < 0.6
    assert found["score_1h_rss_mb"] < 300
    if found["mweralign_1h_s"] is not None:
        assert found["mweralign_same_segments"] is True
        assert found["resegment_1h_s"] < found["mweralign_1h_s"]
