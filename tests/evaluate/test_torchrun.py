"""The same command under torchrun: shards, a rank that dies, a restart."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulst.errors import DataError

pytestmark = pytest.mark.slow
TOY = Path(__file__).parents[1] / "cli" / "toy_simulst.py"
Lines = list[dict[str, Any]]


def torchrun(folder: Path, out: Path, *, model: str = "toy", ranks: int = 2) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    return [*launcher, str(TOY), "evaluate", str(folder), "--model", model, "--output", str(out)]


def lines(path: Path) -> Lines:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.is_file() else []


def said(found: Lines) -> list[tuple[int, str, list[float]]]:
    return [(line["index"], line["prediction"], line["delays"]) for line in found]


def children(pid: int) -> dict[int, int]:
    """Process ids of the ranks under torchrun."""
    ranks: dict[int, int] = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks |= {int(entry[5:]): int(child) for entry in environment if entry.startswith(b"RANK=")}
    return ranks


def test_two_processes_give_the_same_instances(make_lists: Callable[[int], Path], tmp_path: Path) -> None:
    folder, out, alone = make_lists(7), tmp_path / "out", tmp_path / "alone"
    done = subprocess.run(torchrun(folder, out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    subprocess.run([sys.executable, TOY, "evaluate", folder, "--model", "toy", "--output", alone], check=True)
    assert said(lines(out / "instances.log")) == said(lines(alone / "instances.log"))
    assert not list(out.glob("*rank*"))
    assert done.stdout.count("BLEU") == 1
    one, two = (json.loads((f / "scores.json").read_text()) for f in (out, alone))
    assert one["BLEU"] == two["BLEU"] and one["LAAL"] == two["LAAL"]


def test_a_mistake_is_one_sentence_of_the_first_rank(make_lists: Callable[[int], Path], tmp_path: Path) -> None:
    command = [*torchrun(make_lists(2), tmp_path / "out"), "--set", "nope=1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.count("simulst: Unknown setting 'nope'") == 1


def test_a_mistake_of_another_rank_alone_is_said_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulst.cli import evaluate

    before, waited = signal.getsignal(signal.SIGTERM), list[float]()
    monkeypatch.setattr("time.sleep", waited.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(DataError, match="no disk here"), evaluate._exit_statuses():
            raise DataError("no disk here")
    assert waited == [20.0], "the first rank does not wait"
    assert signal.signal(signal.SIGTERM, before) is signal.SIG_DFL, "it goes quietly when the launcher ends it"


@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks through /proc")
def test_a_dead_rank_loses_nothing_and_a_restart_goes_on(make_lists: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = make_lists(24, longest=5), tmp_path / "out"
    command = torchrun(folder, out, model="slow-toy")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        end = time.monotonic() + 300
        while not all(lines(out / f"instances.rank{rank}.log") for rank in (0, 1)):
            assert time.monotonic() < end and launcher.poll() is None
            time.sleep(0.01)
        os.kill(children(launcher.pid)[1], signal.SIGKILL)
        assert launcher.wait(timeout=300) != 0
    flushed = [line for rank in (0, 1) for line in lines(out / f"instances.rank{rank}.log")]
    assert 2 <= len(flushed) < 24
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"resuming after {len(flushed)} of" in done.stderr
    final = {line["index"]: line for line in lines(out / "instances.log")}
    assert sorted(final) == list(range(24))
    assert all(final[line["index"]] == line for line in flushed)
