"""A recipe of many runs does not grow."""

import ctypes
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from simulst.eval.run.memory import give_back

Run = Callable[..., tuple[int, str, str]]


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_what_threads_freed_goes_back_to_the_system() -> None:
    """glibc keeps it in the arena of each thread wherever something small was allocated last."""
    kept: list[bytearray] = []
    together = threading.Barrier(3)

    def work() -> None:
        together.wait(60)  # at the same time, so that each has an arena of its own
        blocks = [bytearray(100_000) for _ in range(500)]
        together.wait(60)
        kept.append(bytearray(50_000))
        blocks.clear()

    give_back()
    before = resident_mb()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert resident_mb() > before + 100
    give_back()
    assert resident_mb() < before + 20 and len(kept) == 3


def test_every_run_of_a_recipe_gives_its_memory_back(
    run: Run, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr("simulst.eval.run.run.give_back", lambda: calls.append(len(list(tmp_path.glob("out/*/")))))
    recipe = tmp_path / "sweep.toml"
    recipe.write_text(f'model = "toy"\npolicy = "wait_k"\n[data]\npath = "{lists}"\n[sweep]\nk = [1, 5]\n')
    assert run("evaluate", recipe, "--output", tmp_path / "out")[0] == 0
    assert calls == [1, 2]
