"""A recipe of many runs does not grow."""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


THREADS = """
import threading
from pathlib import Path
from simulst.core.memory import give_back

def resident_mb():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024

kept, together = [], threading.Barrier(3)

def work():
    together.wait(60)
    blocks = [bytearray(100_000) for _ in range(500)]
    together.wait(60)
    kept.append(bytearray(50_000))
    blocks.clear()

before = resident_mb()
threads = [threading.Thread(target=work) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
held = resident_mb() - before
give_back()
print(held, resident_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_what_threads_freed_goes_back_to_the_system() -> None:
    """glibc keeps it in the arena of each thread wherever something small was allocated last."""
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=120, check=True)
    held, left = map(float, done.stdout.split())
    assert held > 100 and left < 20


def test_every_run_of_a_recipe_gives_its_memory_back(
    run: Run, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr("simulst.eval.run.run.give_back", lambda: calls.append(len(list(tmp_path.glob("out/*/")))))
    recipe = tmp_path / "sweep.toml"
    recipe.write_text(f'model = "toy"\npolicy = "wait_k"\n[data]\npath = "{lists}"\n[sweep]\nk = [1, 5]\n')
    assert run("evaluate", recipe, "--output", tmp_path / "out")[0] == 0
    assert calls == [1, 2]
