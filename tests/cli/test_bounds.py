"""Values from the command line that no policy can work with, and what an install asks of a newer Python."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from packaging.requirements import Requirement

from simulst.testing import toy_audio

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("policy", "pair"),
    [("edatt", "frame_ms=inf"), ("edatt", "frame_ms=nan"), ("ralcp", "candidates=1000000"), ("wait_k", "k=1e400")],
)
def test_values_beyond_sense_are_refused_before_any_work(run: Run, tmp_path: Path, policy: str, pair: str) -> None:
    soundfile.write(tmp_path / "x.wav", toy_audio([3, 5]), 16_000)
    status, out, err = run("translate", tmp_path / "x.wav", "--model", "toy", "--policy", policy, "--set", pair)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert pair.split("=")[0] in err and "Traceback" not in err


def test_a_newer_python_is_not_asked_for_what_has_no_wheel_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [Requirement(line) for line in project["dependencies"]]
    for python, native in (("3.11", True), ("3.13", False)):
        wanted = {one.name for one in needed if one.marker is None or one.marker.evaluate({"python_version": python})}
        assert ("fairseq2" in wanted) == native and "fairseq2n" not in wanted - ({"fairseq2n"} if native else set())
