"""A run that is killed again and again ends as one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).parents[1] / "cli" / "toy_simulst.py"
ITEMS, KILLS = 60, 20


def lines(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of the log; a torn last one is left out."""
    path = folder / "instances.log"
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.mark.slow
def test_twenty_kills(make_lists: Callable[..., Path], tmp_path: Path) -> None:
    folder, out, quiet = make_lists(ITEMS, longest=5), tmp_path / "out", tmp_path / "quiet"
    base = [sys.executable, str(TOY), "evaluate", str(folder), "--policy", "wait_k"]
    command = [*base, "--model", "slow-toy", "--output", str(out)]
    rng, kills = random.Random(0), 0
    while kills < KILLS:
        workers = ["--workers", str(rng.randint(1, 2))]
        with subprocess.Popen([*command, *workers], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            kills += killed_after(process, out, done=len(lines(out)) + rng.randint(0, 2), wait_s=rng.uniform(0, 0.1))
            assert process.returncode != 0, "the run must be long enough to be killed so often"
        if kills % 5 == 0 and (out / "instances.log").is_file():
            tear(out / "instances.log", rng)
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run([*base, "--model", "toy", "--output", str(quiet)], check=True, capture_output=True)
    assert [line["index"] for line in lines(out)] == list(range(ITEMS))
    assert [(x["prediction"], x["delays"]) for x in lines(out)] == [
        (x["prediction"], x["delays"]) for x in lines(quiet)
    ]
    one, other = (json.loads((f / "scores.json").read_text()) for f in (out, quiet))
    assert {k: v for k, v in one.items() if timeless(k)} == {k: v for k, v in other.items() if timeless(k)}
    assert len(json.loads((out / "run.json").read_text())["sessions"]) > 10


def killed_after(process: "subprocess.Popen[bytes]", out: Path, *, done: int, wait_s: float) -> bool:
    """Whether the process was killed, some time after `done` instances were there."""
    end = time.monotonic() + 120
    while process.poll() is None and len(lines(out)) < done:
        assert time.monotonic() < end
        time.sleep(0.005)
    time.sleep(wait_s)
    if process.poll() is not None:
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return True


def tear(log: Path, rng: random.Random) -> None:
    """What a power cut leaves: the last line, cut short."""
    content = log.read_bytes()
    if content.count(b"\n") > 1:
        start = content[:-1].rindex(b"\n") + 1
        log.write_bytes(content[: rng.randint(start + 1, len(content) - 2)])


def timeless(metric: str) -> bool:
    return "_CA" not in metric and metric not in ("ComputeRTF", "CpuRTF")
