"""The search for a setting under a limit of latency, on the toy model."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from simulst.errors import DataError
from simulst.eval.tune.limits import Limit
from simulst.eval.tune.space import Span, read_space

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]

SPACE = """
[[search]]
policy = "wait_k"
ranges = { k = { low = 1, high = 6 } }
[[search]]
policy = "read_write"
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def tune(run: Run, make_lists: Callable[..., Path], space: Path, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """tune(limit, *more): ten trials on 24 made-up items."""
    data = make_lists(24, seed=3)
    fixed = ("tune", "toy", "--data", data, "--space", space, "--output", tmp_path / "out")
    return lambda limit, *more: run(*fixed, "--latency", limit, "--trials", 10, *more)


@pytest.mark.parametrize(
    ("text", "metric", "at_most"),
    [("StreamLAAL<=2.0", "StreamLAAL", 2.0), (" laal <= .5", "laal", 0.5), ("rtf<=0.5", "ComputeRTF", 0.5)],
)
def test_limits_are_read(text: str, metric: str, at_most: float) -> None:
    assert Limit.parse(text) == Limit(metric=metric, at_most=at_most)


@pytest.mark.parametrize("text", ["LAAL", "LAAL<2", "LAAL<=two", "<=2", "LAAL<=0", "LAAL<=-1", "LAAL<=nan"])
def test_what_is_not_a_limit_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is not a limit; write METRIC<=NUMBER"):
        Limit.parse(text)


def test_a_limit_counts_seconds_of_a_score_in_ms() -> None:
    scores = {"BLEU": 20.0, "LAAL": 1500.0, "ComputeRTF": 0.25}
    assert Limit.parse("LAAL<=2").excess(scores) == pytest.approx(-0.25)
    assert Limit.parse("laal<=1").excess(scores) == pytest.approx(0.5)
    assert Limit.parse("rtf<=0.1").excess(scores) == pytest.approx(1.5)
    with pytest.raises(DataError, match="The runs have no DAL; they have BLEU, LAAL, ComputeRTF"):
        Limit.parse("DAL<=1").value(scores)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must hold tables"),
        ("[[search]]\nranges = {}", "must name a policy"),
        ("[[search]]\npolicy = 'wait_k'\nrange = {}", "unknown key 'range'; known: policy, ranges, options"),
        ("[[search]]\npolicy = 'wait_k'\nranges = { k = 3 }", "k must be a list of values, or a table"),
        ("[[search]]\npolicy = 'wait_k'\nranges = { k = [] }", "k must be a list of values, or a table"),
        ("[[search]]\npolicy = 'wait_k'\nranges = { k = { low = 3, high = 3 } }", "low must be below high"),
        ("[[search]]\npolicy = 'e'\nranges = { a = { low = 0, high = 1, log = true } }", "and above 0"),
        ("[[search]]\npolicy = 'wait_k'\n[[search]]\npolicy = 'wait_k'", "searches wait_k twice"),
        ("[[search", "is not TOML"),
    ],
)
def test_bad_spaces_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_space(path)


def test_the_space_of_the_project_can_be_read() -> None:
    found = {search.policy: search for search in read_space(ROOT / "eval" / "tune.toml")}
    assert found["stream_att"].ranges["f"] == Span(low=1, high=24)
    assert list(found) and [s.policy for s in read_space(ROOT / "eval" / "tune.toml", ("wait_k",))] == ["wait_k"]


def test_the_best_setting_within_the_limit_becomes_a_preset(
    tune: Callable[..., tuple[int, str, str]], run: Run, tmp_path: Path
) -> None:
    status, shown, said = tune("LAAL<=1.5")
    assert status == 0, said
    assert "read_write is left out: Policy read_write needs session_tokens" in said
    assert shown.startswith("LAAL<=1.5, on 12 items that were not searched:\n  wait_k k=")
    assert "note: 12 items are few" in said
    preset = tmp_path / "out" / "tuned.toml"
    table = tomllib.loads(preset.read_text())
    assert table["policy"] == "wait_k" and 1 <= table["parameters"]["k"] <= 6
    assert "# on 12 items of " in preset.read_text()
    assert (tmp_path / "out" / "curve.html").read_text().count("wait_k")
    data = tmp_path / "lists24"
    assert run("evaluate", data, "--model", "toy", "--policy", preset, "--output", tmp_path / "again")[0] == 0


def test_the_numbers_that_a_model_computes_with_are_those_of_every_trial(
    tune: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert tune("LAAL<=9", "--trials", 1, "--dtype", "bfloat16")[0] == 0
    runs = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/*/run.json")]
    assert len(runs) == 2  # the trial, and the same on the other half
    assert {run["model"]["dtype"] for run in runs} == {"bfloat16"}


def test_a_search_that_was_stopped_goes_on(tune: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    assert tune("LAAL<=9", "--trials", 4)[0] == 0
    logs = {path: path.read_bytes() for path in (tmp_path / "out" / "trials").glob("*/instances.log")}
    status, _, said = tune("LAAL<=9", "--trials", 6)
    assert status == 0
    assert "trial 5 of 6" in said and "trial 1 of 6" not in said
    assert logs and all(path.read_bytes() == log for path, log in logs.items())  # with its times of computing
    assert "Warning" not in said
    status, _, said = tune("LAAL<=1", "--trials", 7)
    assert status == 2
    assert said.endswith(
        f"simulst: {tmp_path / 'out'} holds a search of other policies, ranges or limits; name another folder with "
        "--output, or ask for what it was begun with to go on.\n"
    )


def test_a_limit_that_nothing_keeps_to_ends_with_3_and_the_closest(
    tune: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    status, shown, _ = tune("LAAL<=0.01")
    fastest = min(int(path.name.removeprefix("wait_k-k=")) for path in (tmp_path / "out" / "trials").iterdir())
    assert status == 3
    assert shown.startswith(f"Nothing keeps to LAAL<=0.01; the closest:\n  wait_k k={fastest}: BLEU ")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--policy", "hold_n"), "space.toml does not search hold_n; it searches wait_k, read_write."),
        (("--policy", "read_write"), "The model can run none of the policies; the first says: Policy read_write "),
        (("--device-budget", "fast"), "'fast' is not a limit; "),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(
    tune: Callable[..., tuple[int, str, str]], options: tuple[str, ...], sentence: str
) -> None:
    status, _, said = tune("LAAL<=1", *options)
    assert status == 2 and f"simulst: {sentence}" in said, said


def test_one_item_is_too_few(run: Run, make_lists: Callable[..., Path], tmp_path: Path) -> None:
    data = make_lists(1)
    status, _, said = run("tune", "toy", "--data", data, "--latency", "LAAL<=1", "--output", tmp_path / "out")
    assert (status, said) == (
        2,
        f"simulst: {data} has 1 item; a search needs some to search on and others to report.\n",
    )
