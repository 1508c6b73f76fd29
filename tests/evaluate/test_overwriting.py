"""No mistake in the options of a command costs its input or a finished run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from simulst.eval.data import Item
from simulst.eval.logs.instances import Instance
from simulst.eval.run.folder import RunFolder
from simulst.eval.run.stream import translate_item

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]
TOY = Path(__file__).parents[1] / "cli" / "toy_simulst.py"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def finished(run: Run, lists: Path, tmp_path: Path) -> Path:
    """A scored run of the toy with its page."""
    out = tmp_path / "finished"
    assert run("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output", out)[0] == 0
    assert run("report", out)[0] == 0
    return out


def test_fresh_replaces_a_run_with_its_page(run: Run, lists: Path, finished: Path) -> None:
    command = ("evaluate", lists, "--model", "toy", "--policy", "offline", "--output", finished, "--fresh")
    assert run(*command)[0] == 0
    assert json.loads((finished / "run.json").read_text())["policy"]["name"] == "offline"
    assert "report.html" not in contents(finished) and not (finished / ".previous").exists()


def test_fresh_looks_for_files_of_others_before_it_clears(run: Run, lists: Path, finished: Path) -> None:
    (finished / "notes.txt").write_text("years of work")
    before = contents(finished)
    status, _, errors = run("evaluate", lists, "--model", "toy", "--output", finished, "--fresh")
    assert status == 2 and contents(finished) == before
    assert errors == (
        f"simulst: {finished} also has notes.txt, which no run makes; move it away or choose another --output.\n"
    )
    assert run("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output", finished)[0] == 0


@pytest.mark.parametrize(
    "mistake",
    [
        ("--model", "nope"),
        ("--model", "toy", "--policy", "nope"),
        ("--model", "toy", "--set", "nope=1"),
        ("--model", "toy", "--unit", "syllable"),
        pytest.param(("--model", "toy", "--device", "cuda:9"), marks=pytest.mark.slow),
        pytest.param(("--model", "toy", "--policy", "emma"), marks=pytest.mark.slow),
        pytest.param(("--model", "tiny-en-de", "--dtype", "float17"), marks=pytest.mark.slow),
        pytest.param(("--model", "tiny-en-de", "--dtype", "float17", "--workers", "2"), marks=pytest.mark.slow),
        pytest.param(
            ("--model", "tiny-en-de", "--policy", "confidence", "--set", "signal=no_speech"), marks=pytest.mark.slow
        ),
        pytest.param(("--model", "tiny-en-de", "--set", "source=xx"), marks=pytest.mark.slow),
    ],
)
def test_a_mistake_beside_fresh_costs_nothing(run: Run, lists: Path, finished: Path, mistake: tuple[str, ...]) -> None:
    before = contents(finished)
    status, _, errors = run("evaluate", lists, "--output", finished, "--fresh", *mistake)
    assert status == 2 and errors.count("\n") == 1
    assert contents(finished) == before


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading ends in what no command expects."""

    def breaks(*_: object) -> Instance:
        raise MemoryError

    monkeypatch.setattr("simulst.eval.run.run._load_checked", breaks)


def test_the_run_before_is_back_when_the_new_one_cannot_load(
    run: Run, lists: Path, finished: Path, no_model: None
) -> None:
    (finished / "instances.rank1.log").write_text("")  # as torchrun leaves it when it is killed
    before = contents(finished)
    with pytest.raises(MemoryError):
        run("evaluate", lists, "--model", "toy", "--output", finished, "--fresh")
    assert contents(finished) == before


def test_the_run_before_is_back_when_every_item_fails(run: Run, lists: Path, finished: Path) -> None:
    before = contents(finished)
    for wav in lists.glob("*.wav"):
        wav.write_bytes(wav.read_bytes()[:-100])
    status, _, errors = run("evaluate", lists, "--model", "toy", "--output", finished, "--fresh")
    assert status == 2 and "All 4 items failed" in errors
    assert contents(finished) == before


def test_the_run_before_stays_until_the_first_item(
    run: Run, lists: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill before the first item leaves the old run to the next command, a kill after it the new one."""
    before, seen = contents(finished), list[bool]()
    real = translate_item

    def watched(model: object, spec: object, item: Item, **rest: object) -> Instance:
        seen.append((finished / ".previous" / "instances.log").is_file())
        return real(model, spec, item, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr("simulst.eval.run.run.translate_item", watched)
    command = ("evaluate", lists, "--model", "toy", "--policy", "offline", "--output", finished)
    assert run(*command, "--fresh")[0] == 0
    assert seen == [True, False, False, False]
    assert contents(finished).keys() == before.keys() - {"report.html"}


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import toy_simulst
import simulst.eval.run.run
place = {place}
real = place.{name}
calls = []
def killed(*args, **kwargs):
    calls.append(args)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
place.{name} = killed
toy_simulst.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("place", "name", "call"),
    [
        ("os", "replace", 4),
        pytest.param("os", "replace", 1, marks=pytest.mark.slow),
        pytest.param("os", "replace", 8, marks=pytest.mark.slow),
        ("simulst.eval.run.run", "translate_item", 1),
    ],
)
def test_killed_before_the_first_item(run: Run, lists: Path, finished: Path, place: str, name: str, call: int) -> None:
    before = contents(finished)
    code = KILLED.format(folder=str(TOY.parent), place=place, name=name, call=call)
    command = ["evaluate", lists, "--model", "toy", "--policy", "offline", "--output", finished, "--fresh"]
    killed = subprocess.run([sys.executable, "-c", code, *map(str, command)], capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL and (finished / ".previous.tmp").exists() == (place == "os")
    status, _, errors = run("evaluate", lists, "--model", "toy", "--policy", "offline", "--output", finished)
    assert status == 2 and "holds another run" in errors
    assert contents(finished) == before


def test_killed_after_the_first_item(run: Run, lists: Path, finished: Path) -> None:
    code = KILLED.format(folder=str(TOY.parent), place="simulst.eval.run.run", name="translate_item", call=2)
    command = ["evaluate", lists, "--model", "toy", "--policy", "offline", "--output", finished]
    args = [sys.executable, "-c", code, *map(str, command), "--fresh"]
    assert subprocess.run(args, capture_output=True, timeout=60).returncode == -signal.SIGKILL
    status, _, errors = run(*command)
    assert status == 0 and "resuming after 1 of 4" in errors


def test_scores_stay_until_there_is_more_to_score(run: Run, lists: Path, finished: Path, no_model: None) -> None:
    """An item is missing, and the model that should make it cannot be loaded any more."""
    log = (finished / "instances.log").read_text().splitlines(keepends=True)
    (finished / "instances.log").write_text("".join(log[:3]))
    with pytest.raises(MemoryError):
        run("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output", finished)
    assert {"scores.json", "scores.tsv", "segments.tsv"} <= contents(finished).keys()


def test_a_folder_that_is_refused_gets_no_lock(run: Run, lists: Path, tmp_path: Path) -> None:
    before = contents(lists)
    assert run("evaluate", lists, "--model", "toy", "--output", lists)[0] == 2
    assert contents(lists) == before and not (lists / ".lock").exists()
    assert os.listdir(tmp_path) == ["lists"]


def test_only_whole_lines_are_items(tmp_path: Path) -> None:
    """A run whose first line is torn has shown nothing yet."""
    folder = RunFolder(tmp_path / "out")
    folder.claim({"seed": 1}, {}, fresh=False)
    (tmp_path / "out" / "instances.log").write_text('{"index": 0, "pred')
    folder.abandon()
    folder.release()
    assert not (tmp_path / "out").exists()


# -- other commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["instances.log", "scores.tsv", "run.json", "segments.tsv"])
def test_a_report_does_not_replace_its_run(run: Run, finished: Path, name: str) -> None:
    before = contents(finished)
    status, _, errors = run("report", finished, "--output", finished / name)
    assert status == 2 and contents(finished) == before
    assert errors == (
        f"simulst: {finished / name} is read by this command and would be overwritten; choose another --output.\n"
    )


def test_a_curve_does_not_replace_a_run(run: Run, finished: Path, tmp_path: Path) -> None:
    """A link to a file of the run is that file."""
    (tmp_path / "curve.html").symlink_to(finished / "scores.tsv")
    before = contents(finished)
    status, _, errors = run("curve", finished, "--output", tmp_path / "curve.html")
    assert status == 2 and "is read by this command" in errors and contents(finished) == before


def test_scores_of_another_log_do_not_replace_those_of_a_run(
    run: Run, lists: Path, finished: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.log"
    other.write_bytes((finished / "instances.log").read_bytes())
    before = contents(finished)
    status, _, errors = run("score", other, "--output", finished)
    assert status == 2 and contents(finished) == before
    assert errors == (
        f"simulst: {finished} holds the run of another log, whose scores would be lost; choose another --output.\n"
    )
    assert run("score", finished / "instances.log", "--output", finished)[0] == 0


@pytest.mark.parametrize("name", ["", "/../lists", "/."])
def test_lists_do_not_replace_the_test_set(run: Run, lists: Path, name: str) -> None:
    before = contents(lists)
    status, _, errors = run("data", "lists", lists, "--limit", 2, "--output", f"{lists}{name}")
    assert status == 2 and contents(lists) == before
    assert "is the test set itself; choose another --output.\n" in errors


def test_lists_do_not_replace_the_recordings_they_are_cut_from(run: Run, lists: Path, tmp_path: Path) -> None:
    (lists / "wav").mkdir()
    (lists / "0.wav").rename(lists / "wav" / "00000.wav")
    manifest = lists / "set.jsonl"
    manifest.write_text(json.dumps({"audio": "wav/00000.wav", "duration": 0.5, "reference": "x"}) + "\n")
    before = contents(lists)
    status, _, errors = run("data", "lists", manifest, "--output", lists)
    assert status == 2 and contents(lists) == before
    assert errors.startswith(f"simulst: {lists}/wav/00000.wav is read by this command and would be overwritten;")


def test_fewer_items_are_scored_with_a_note(run: Run, lists: Path, finished: Path) -> None:
    command = ("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output", finished)
    status, _, errors = run(*command, "--limit", 2)
    assert status == 0
    assert "note: The scores are of 2 of the 4 items in the folder; --limit chose them.\n" in errors
    assert "note" not in run(*command)[2]
