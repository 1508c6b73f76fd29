"""The unmodified SimulEval command line and `simulst evaluate` give the same predictions and delays."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from simulst.eval.data import open_dataset
from simulst.eval.run import RunSpec, run_evaluation
from simulst.policies import POLICIES, load_policy
from simulst.testing import ToyTranslator

pytestmark = pytest.mark.slow

Calls = Callable[[Sequence[Sequence[str]]], None]
Log = list[dict[str, Any]]
AGENTS = Path(__file__).parents[2] / "agents"
RUNNABLE = [name for name in POLICIES if load_policy(name).policy.needs() <= ToyTranslator().provides]


def job(speech: Path, out: Path, policy: str, *extra: str, segment_ms: int | None = None) -> list[str]:
    segment_ms = segment_ms or load_policy(policy).chunk_ms
    lists = ["--source", f"{speech}/source.txt", "--target", f"{speech}/target.txt"]
    return [
        *("--agent", f"{AGENTS}/{policy}.py", "--model", "toy", *lists),
        *("--source-segment-size", str(segment_ms), "--output", str(out), *extra),
    ]


@pytest.fixture(scope="module")
def runs(simuleval: Calls, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every agent at its policy's own chunk, then some in other circumstances."""
    out = tmp_path_factory.mktemp("runs")
    jobs = [job(speech, out / policy, policy) for policy in RUNNABLE]
    lazy = ["--dataloader", "lazy", "--dataloader-class", "simulst.agents.LazySpeech"]
    jobs += [
        job(speech, out / "lazy", "stream_att", *lazy),
        job(speech, out / "k2", "wait_k", "--set", "k=2", segment_ms=320),
        job(speech, out / "fine", "wait_k", "--chunk-ms", "640", segment_ms=80),
        job(speech, out / "chars", "wait_k", "--eval-latency-unit", "char"),
        job(speech, out / "preset", "stream_att", "--policy", "stream_att-f2"),
        job(speech, out / "whole", "offline", segment_ms=10_000_000),
    ]
    simuleval(jobs)
    return out


def ours(speech: Path, out: Path, policy: str, *, unit: str = "word", **settings: object) -> Log:
    spec = RunSpec(
        model="toy",
        policy=load_policy(policy, **settings),
        unit="char" if unit == "char" else "word",
        final_only=policy == "retranslation",
    )
    result = run_evaluation(spec, open_dataset(speech), out, load=lambda spec: ToyTranslator())
    assert result is not None and not result.failed
    return [{"prediction": one.prediction, "delays": list(one.delays_ms)} for one in result.instances]


def same(theirs: Log, ours: Log) -> None:
    assert [line["prediction"] for line in theirs] == [line["prediction"] for line in ours]
    assert [line["delays"] for line in theirs] == [line["delays"] for line in ours]


@pytest.mark.parametrize("policy", RUNNABLE)
def test_every_policy(runs: Path, speech: Path, tmp_path: Path, policy: str, read_log: Callable[[Path], Log]) -> None:
    theirs = read_log(runs / policy)
    assert [line["index"] for line in theirs] == [0, 1, 2, 3]
    same(theirs, ours(speech, tmp_path, policy))


@pytest.mark.parametrize(
    ("run", "policy", "settings"),
    [
        ("lazy", "stream_att", {}),
        ("k2", "wait_k", {"k": 2, "chunk_ms": 320}),
        ("fine", "wait_k", {}),
        ("chars", "wait_k", {"unit": "char"}),
        ("preset", "stream_att-f2", {}),
    ],
)
def test_other_circumstances(
    runs: Path,
    speech: Path,
    tmp_path: Path,
    run: str,
    policy: str,
    settings: dict[str, Any],
    read_log: Callable[[Path], Log],
) -> None:
    mine, theirs = ours(speech, tmp_path, policy, **settings), read_log(runs / run)
    if run == "chars":  # SimulEval joins characters without the blanks
        mine = [line | {"prediction": line["prediction"].replace(" ", "")} for line in mine]
    same(theirs, mine)


def test_a_segment_longer_than_the_models_memory(runs: Path, speech: Path, read_log: Callable[[Path], Log]) -> None:
    references = (speech / "target.txt").read_text().splitlines()
    assert [line["prediction"] for line in read_log(runs / "whole")] == references
