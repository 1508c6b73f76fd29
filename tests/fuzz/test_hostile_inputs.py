"""Hostile inputs: every command ends with 0 or 2, says one sentence where it refuses, and leaves its inputs alone.

SIMULST_FUZZ=20000 draws so many new cases of each kind instead of the 2,000 that are always the same.
"""

import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from simulst.cli import LONGEST
from simulst.testing.hostile import KINDS, Edit, Seed, edited, seeds_of
from simulst.testing.hostile.edits import RANGE

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("SIMULST_FUZZ", "2000"))
SECONDS = 60
"""More than any case takes, however busy the machine is."""
ROOM = 6 << 30
"""Bytes that a case may ask for beyond what the process holds."""
TOY = Path(__file__).parents[1] / "cli" / "toy_simulst.py"
NUMBER = st.integers(0, RANGE - 1)
EDITS = st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=1, max_size=3)
Call = Callable[[tuple[str, ...]], tuple[int, str]]


@dataclass(frozen=True)
class Case:
    """A seed with one of its files made hostile."""

    seed: Seed
    target: str
    edits: tuple[Edit, ...]

    def files(self) -> dict[str, bytes]:
        files = dict(self.seed.files)
        files[self.target] = edited(files[self.target], Path(self.target).suffix, self.edits)
        return files


def cases(kind: str) -> st.SearchStrategy[Case]:
    seeds = seeds_of(kind)
    pairs = [(seed, target) for seed in seeds for target in seed.targets]
    return st.builds(lambda pair, edits: Case(pair[0], pair[1], tuple(edits)), st.sampled_from(pairs), EDITS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is also the working directory, in a process that may not fill the machine."""
    folder = tmp_path_factory.mktemp("hostile")
    before, limits = Path.cwd(), resource.getrlimit(resource.RLIMIT_AS)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + ROOM, limits[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_AS, limits)
    os.chdir(before)


@pytest.fixture
def call(request: pytest.FixtureRequest) -> Call:
    run = request.getfixturevalue("toy_run")

    def call(command: tuple[str, ...]) -> tuple[int, str]:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        with redirect_stdout(out), redirect_stderr(err):
            status = run(list(command))
        err.flush()
        buffer = err.buffer
        assert isinstance(buffer, io.BytesIO)
        return status, buffer.getvalue().decode("utf-8")

    return call


def put(folder: Path, files: dict[str, bytes]) -> None:
    """Exactly these files."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def judge(status: int, err: str, folder: Path, files: dict[str, bytes]) -> None:
    assert status in (0, 2), err
    assert "Traceback" not in err
    if status == 2:
        lines = err.splitlines()
        assert lines and lines[-1].startswith("simulst: ") and lines[-1][-1] in ".?", err
        assert all(line.startswith("note: ") for line in lines[:-1]), err
        assert 12 < len(lines[-1]) < 9 * LONGEST, err
        assert lines[-1].isprintable(), err
    for name, data in files.items():
        assert (folder / name).read_bytes() == data, f"{name} was changed"


@pytest.mark.parametrize("kind", KINDS)
def test_no_hostile_input_breaks_a_command(kind: str, place: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    @settings(
        max_examples=CASES,
        derandomize="SIMULST_FUZZ" not in os.environ,
        database=None,
        deadline=SECONDS * 1_000,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(kind))
    def check(case: Case) -> None:
        files = case.files()
        put(place, files)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(files[case.target])))
        status, err = call(case.seed.command)
        judge(status, err, place, files)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_the_seeds_are_valid(kind: str, place: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in seeds_of(kind):
        put(place, dict(seed.files))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(seed.files[seed.targets[0]])))
        assert call(seed.command) == (0, ""), seed


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_ends_as_cleanly(kind: str, tmp_path: Path) -> None:
    """What this process cannot see: libraries that write to the real stderr, crashes, and what is left at the exit."""
    for number, case in enumerate(_sample(kind)):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = case.files()
        put(folder, files)
        command = [sys.executable, str(TOY), *case.seed.command]
        done = subprocess.run(command, cwd=folder, input=files[case.target], capture_output=True, timeout=120)
        judge(done.returncode, done.stderr.decode("utf-8"), folder, files)


def _sample(kind: str) -> list[Case]:
    """Three cases, always the same, of which at least two edit the head of the file."""
    seeds = seeds_of(kind)
    chosen = [seeds[0], seeds[len(seeds) // 2], seeds[-1]]
    edits: list[tuple[Edit, ...]] = [((0, 9, 82),), ((33, 1, 2),), ((4, 5, 17), (7, 3, 21))]
    return [Case(seed, seed.targets[0], edit) for seed, edit in zip(chosen, edits, strict=True)]
