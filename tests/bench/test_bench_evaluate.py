"""`simulst bench evaluate` measures whole processes and prints the keys that others read."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import simulst.cli
from simulst.bench.evaluate import make_recordings, measure
from simulst.errors import DataError


def test_recordings_have_the_length_asked_for(tmp_path: Path) -> None:
    folder = make_recordings(tmp_path / "set", seconds=[0.25, 21.5])
    names = (folder / "source.txt").read_text().splitlines()
    assert [soundfile.info(name).duration for name in names] == [0.25, 21.5]
    assert [len(line.split()) for line in (folder / "target.txt").read_text().splitlines()] == [1, 22]


def from_a_small_parent(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A child's peak memory counts what its parent was before exec, so pytest itself must not be the parent."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_process_is_measured_whole() -> None:
    burn = (
        "import time; b = bytearray(80_000_000); end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    )
    told = f"import sys; from simulst.bench.evaluate import measure; c = measure([sys.executable, '-c', {burn!r}]); "
    cpu_s, wall_s, rss_mb = map(
        float, from_a_small_parent("-c", told + "print(c.cpu_s, c.wall_s, c.rss_mb)").stdout.split()
    )
    assert 0.3 < cpu_s < 2 and wall_s > 0.3
    assert 80 < rss_mb < 140


def test_a_process_that_fails_is_named() -> None:
    with pytest.raises(DataError, match="failed: no luck"):
        measure([sys.executable, "-c", "raise SystemExit('no luck')"])


@pytest.mark.slow
def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIMULST_SIMULEVAL", raising=False)
    small = ("--files", "6", "--minutes", "1", "--rounds", "1")
    done = from_a_small_parent("-m", "simulst.cli", "bench", "evaluate", *small, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found["short200_cpu_s"] < 10 and 10 < found["short200_rss_mb"] < 150
    assert 10 < found["hour_rss_mb"] < 300 and found["workers2_speedup"] > 0.2 and found["loop2_speedup"] > 0.2
    theirs = found.get("simuleval", {}).values()
    assert all(0 < one["short200_cpu_s"] and 10 < one["hour_rss_mb"] for one in theirs)
    assert len(theirs) == (2 if importlib.util.find_spec("simuleval") else 0)
    status = simulst.cli.run(["bench", "evaluate", "--simuleval", "/no/python", *small])
    assert status == 2
    assert capsys.readouterr().err.startswith("simulst: The interpreter /no/python does not exist;")
