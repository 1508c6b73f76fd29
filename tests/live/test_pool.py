"""The threads of the live server: fair, replaceable, and not left at work when a process ends."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from simulst.live.pool import Pool, Stalled


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
