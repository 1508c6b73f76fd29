"""The threads of the live server: fair, replaceable, and not left at work when a process ends."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from websockets.sync.client import connect

from simulst.live.pool import Pool, Stalled
from simulst.testing import toy_audio


def test_results_and_errors_come_back() -> None:
    async def main() -> None:
        pool = Pool(2)
        assert await asyncio.gather(*(pool.run(lambda n=n: n * n) for n in range(20))) == [n * n for n in range(20)]  # type: ignore[misc]
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 / 0)
        pool.close()

    asyncio.run(main())


def test_a_job_that_never_returns_is_given_up_and_its_thread_replaced() -> None:
    async def main() -> None:
        never = threading.Event()
        pool = Pool(1, patience_s=0.1)
        with pytest.raises(Stalled):
            await pool.run(never.wait)
        assert await pool.run(lambda: 7) == 7
        never.set()
        pool.close()

    asyncio.run(main())


@pytest.mark.slow
def test_waiting_in_the_queue_is_no_stalling() -> None:
    async def main() -> None:
        pool = Pool(1, patience_s=0.3)
        await asyncio.gather(*(pool.run(lambda: time.sleep(0.1)) for _ in range(8)))
        pool.close()

    asyncio.run(main())


@pytest.mark.slow
def test_closing_waits_for_a_job_whose_client_is_gone() -> None:
    """A process that exits while torch computes in a thread is killed by the C++ runtime."""
    code = """
import asyncio, torch
from simulst.live.pool import Pool
def work():
    for _ in range(60):
        torch.randn(300, 300) @ torch.randn(300, 300)
async def main():
    pool = Pool(2)
    jobs = [asyncio.create_task(pool.run(work)) for _ in range(2)]
    await asyncio.sleep(0.01)
    for job in jobs:
        job.cancel()
    pool.close()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


STUCK = """
import functools, sys, time, torch
import simulst.live.server, simulst.models
from simulst.cli import main
from simulst.live.pool import Pool
from simulst.testing import ToyTranslator

class Stuck(ToyTranslator):
    def open(self):
        session = super().open()
        def compute(*args, **options):
            print("at work", file=sys.stderr, flush=True)
            until, a = time.monotonic() + 60, torch.randn(300, 300)
            while time.monotonic() < until:
                a = (a @ a).tanh()
        session.extend_source = compute
        return session

simulst.models.load_model = lambda name, **options: Stuck()
simulst.live.server.FLUSH_S = 0.2
Pool.close = functools.partialmethod(Pool.close, within_s=0.2)
main(["live", "--model", "toy", "--port", "0"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("numbers", "status"), [([signal.SIGTERM], 0), ([signal.SIGINT, signal.SIGINT], 130)])
def test_the_server_ends_in_order_during_a_step_that_does_not(numbers: list[signal.Signals], status: int) -> None:
    """Taken down under a thread that computes, a process died of `terminate called without an active exception`."""
    command = [sys.executable, "-c", STUCK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        address = process.stdout.readline().split()[3].rstrip("/").replace("http", "ws")
        with connect(f"{address}/ws", compression=None) as client:
            client.send(json.dumps({"type": "hello", "version": 1, "sample_rate": 16_000, "format": "f32le"}))
            assert json.loads(client.recv())["type"] == "ready"
            client.send(toy_audio([3, 5, 7]).tobytes())
            assert process.stderr.readline() == "at work\n"
            for number in numbers:
                process.send_signal(number)
                time.sleep(0.1)
            out, err = process.communicate(timeout=50)
    assert (process.returncode, out, err) == (status, "", "")


class AcceleratorError(RuntimeError):
    """Named as torch names what a GPU reports: CUDA's errors stick to the process."""


def test_a_device_that_fails_is_told() -> None:
    def fail() -> None:
        raise AcceleratorError("CUDA error: unspecified launch failure")

    async def main() -> None:
        told: list[str] = []
        pool = Pool(1, on_lost=lambda: told.append(str(pool.lost)))
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 / 0)
        assert pool.lost is None
        with pytest.raises(AcceleratorError):
            await pool.run(fail)
        assert told == ["CUDA error: unspecified launch failure"]
        pool.close()

    asyncio.run(main())


BROKEN = """
from dataclasses import dataclass
from pathlib import Path
from simulst.models import ModelFamily
from simulst.testing import ToyTranslator

@dataclass(frozen=True)
class Options:
    pass

class AcceleratorError(RuntimeError):
    pass

def fail():
    before = Path(__file__).with_name("failed")
    if not before.exists():
        before.touch()
        raise AcceleratorError("CUDA error: device-side assert triggered")

def load(directory, chosen, *, name, device, dtype):
    return ToyTranslator(name=name, before=fail)

FAMILY = ModelFamily(name="toy", options=Options, provides=lambda *_: ToyTranslator().provides, load=load)
"""


@pytest.mark.slow
def test_a_server_whose_device_fails_starts_itself_again(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    model = f"{tmp_path / 'broken.py'}:FAMILY"
    command = [sys.executable, "-m", "simulst", "live", "--model", model, "--policy", "wait_k", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        hello = json.dumps({"type": "hello", "version": 1, "sample_rate": 16_000, "format": "f32le"})
        ends = list[str]()
        for _ in range(2):
            address = process.stdout.readline().split()[3].rstrip("/").replace("http", "ws")
            with connect(f"{address}/ws", compression=None) as client:
                client.send(hello)
                client.send(toy_audio([3, 5, 7]).tobytes())
                client.send(json.dumps({"type": "end"}))
                kinds = (json.loads(message)["type"] for message in client)
                ends.append(next(kind for kind in kinds if kind in ("error", "end")))
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=50)
    assert (process.returncode, ends) == (0, ["error", "end"])
    assert "The model's device failed (CUDA error: device-side assert triggered); start the server again. It is" in err
