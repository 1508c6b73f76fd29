"""`simulst bench score`: what the reference tools cut, and the figures it must reach."""

import shutil
from pathlib import Path

import pytest

from simulst.bench.score import measure, talk


def test_a_talk_is_the_same_every_time() -> None:
    hypothesis, references = talk(60, 7)
    assert (hypothesis, references) == talk(60, 7)
    assert [len(segment) for segment in references] == [15] * 4
    assert 45 < len(hypothesis) < 75


@pytest.mark.slow
def test_the_figures(tmp_path: Path) -> None:
    tool = shutil.which("mweralign")
    found = measure(tmp_path, 1, Path(tool).parent / "python" if tool else None)
    assert found["resegment_1h_cpu_s"] < 0.6
    assert found["score_1h_rss_mb"] < 300
    if found["mweralign_1h_s"] is not None:
        assert found["mweralign_same_segments"] is True
        assert found["resegment_1h_s"] < found["mweralign_1h_s"]
