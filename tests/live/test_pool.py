"""The threads of the live server: fair, replaceable, and not left at work when a process ends."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time

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
