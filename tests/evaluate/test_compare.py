"""What changed between two runs, and a run that fails because it is worse than the one before."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from simulst.eval.metrics.metric import Kind
from simulst.eval.score.differences import Change, changed_words
from simulst.eval.score.significance import Comparison, Interval

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(run: Run, lists: Path, tmp_path: Path) -> Callable[..., Path]:
    """folder(k): a run of wait_k over the lists."""

    def made(k: int, *more: object, data: Path = lists) -> Path:
        out = tmp_path / f"k{k}"
        settings = ("--model", "toy", "--policy", "wait_k", "--set", f"k={k}")
        assert run("evaluate", data, *settings, "--output", out, *more)[0] == 0
        return out

    return made


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("er geht heim", "er geht heim", (0, "er geht heim")),
        ("er geht heim", "er ging nach Haus", (3, "er [-geht heim-] {+ging nach Haus+}")),
        ("er geht", "dann geht er", (3, "{+dann geht+} er [-geht-]")),
        ("", "ja", (1, "{+ja+}")),
        ("ja", "", (1, "[-ja-]")),
    ],
)
def test_changed_words_are_marked_in_one_line(old: str, new: str, expected: tuple[int, str]) -> None:
    assert changed_words(old, new) == expected


@pytest.mark.parametrize(
    ("kind", "difference", "p_value", "verdict"),
    [
        ("quality", -1.0, 0.01, "worse"),
        ("quality", 1.0, 0.01, "better"),
        ("latency", -1.0, 0.01, "better"),
        ("latency", 1.0, 0.01, "worse"),
        ("latency", 1.0, 0.05, "not told apart"),
        ("quality", 0.0, 0.001, "not told apart"),
    ],
)
def test_verdict_is_by_the_direction_of_the_metric(kind: Kind, difference: float, p_value: float, verdict: str) -> None:
    test = Comparison(difference, Interval(difference - 1, difference + 1), p_value)
    assert Change(metric="x", unit="", kind=kind, old=1.0, new=1.0 + difference, test=test).verdict == verdict


@pytest.mark.slow
def test_compare_shows_scores_with_a_test_and_the_segments_that_differ(
    run: Run, folder: Callable[..., Path], tmp_path: Path
) -> None:
    old, new = folder(1), folder(4)
    status, shown, _ = run("compare", old, new, "--by", "latency", "--show", 2, "--output", tmp_path / "all.tsv")
    assert status == 0
    lines = shown.splitlines()
    assert next(line for line in lines if line.startswith("BLEU ")).endswith("not told apart")
    assert next(line for line in lines if line.startswith("LAAL ")).endswith("worse")
    assert "4 of 4 segments differ." in lines
    headings = [line for line in lines if line.startswith("segment ")]
    late = [int(line.split("latency +")[1].split(" ms")[0]) for line in headings]
    assert len(late) == 2 and late == sorted(late, reverse=True)
    table = (tmp_path / "all.tsv").read_text().splitlines()
    assert len(table) == 5 and table[0].split("\t")[:4] == ["index", "wav", "offset_s", "words"]


@pytest.mark.slow
def test_equal_runs_do_not_differ(run: Run, folder: Callable[..., Path]) -> None:
    old = folder(2)
    status, shown, _ = run("compare", old, old, "--json", "--guard")
    found = json.loads(shown)
    assert (status, found["worse"], found["segments"]) == (0, [], [])
    assert {one["verdict"] for one in found["scores"]} == {"not told apart"}


@pytest.mark.slow
def test_guard_fails_where_latency_rises_and_not_where_it_falls(run: Run, folder: Callable[..., Path]) -> None:
    fast, slow = folder(1), folder(4)
    assert run("compare", fast, slow, "--guard")[0] == 3
    assert run("compare", slow, fast, "--guard")[0] == 0


@pytest.mark.slow
def test_a_run_that_is_worse_than_the_one_before_ends_with_3(
    run: Run, folder: Callable[..., Path], lists: Path, tmp_path: Path
) -> None:
    old = folder(1)
    command = ("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--compare-to", old)
    status, _, said = run(*command, "--set", "k=4", "--output", tmp_path / "worse")
    assert status == 3 and [line for line in said.splitlines() if line.startswith("LAAL") and line.endswith("worse")]
    assert (tmp_path / "worse" / "scores.tsv").is_file()
    assert run(*command, "--set", "k=1", "--output", tmp_path / "same")[0] == 0


def test_what_cannot_be_compared_is_said_before_the_work(
    run: Run, folder: Callable[..., Path], lists: Path, tmp_path: Path
) -> None:
    old, out = folder(1), tmp_path / "new"
    command = ("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output")
    for options, sentence in [
        ((out, "--compare-to", tmp_path / "none"), f"{tmp_path / 'none'} has no scores.tsv; "),
        ((old, "--compare-to", old), "--compare-to names the folder of the run itself; "),
        ((out, "--compare-to", old, "--no-score"), "--compare-to is for one run that is scored; "),
    ]:
        status, _, said = run(*command, *options)
        assert status == 2 and said.startswith(f"simulst: {sentence}"), said
    assert not out.exists()


@pytest.mark.slow
def test_runs_over_other_segments_are_refused(
    run: Run, folder: Callable[..., Path], make_lists: Callable[..., Path]
) -> None:
    old = folder(1)
    new = folder(2, data=make_lists(3, seed=5))
    status, _, said = run("compare", old, new)
    assert (status, said) == (
        2,
        f"simulst: {old} (4 segments) and {new} (3) do not translate the same segments; compare runs over one "
        "test set.\n",
    )
