"""The embedded model on speech: SimulEval's command line and `simulst evaluate` say the same at the same time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from simulst.eval.data import open_dataset
from simulst.eval.data.export import write_lists
from simulst.eval.run import ModelLoader, RunSpec, Settings, run_evaluation
from simulst.models import DEFAULT_MODEL
from simulst.policies import load_policy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
POLICIES = ("wait_k", "local_agreement", "align_att", "stream_att", "edatt", "ralcp", "retranslation")


def test_predictions_and_delays_are_the_same(
    simuleval: Callable[[Sequence[Sequence[str]]], None], tmp_path: Path, read_log: Callable[[Path], Any]
) -> None:
    lists = tmp_path / "lists"
    corpus = open_dataset(ROOT / "examples" / "corpus" / "en-de" / "data" / "tst-COMMON")
    write_lists(corpus.first(2), lists)
    simuleval(
        [
            [
                *("--agent", f"{ROOT}/agents/{policy}.py", "--output", str(tmp_path / "theirs" / policy)),
                *("--source", f"{lists}/source.txt", "--target", f"{lists}/target.txt"),
                *("--source-segment-size", str(load_policy(policy).chunk_ms), "--latency-metrics", "LAAL"),
            ]
            for policy in POLICIES
        ]
    )
    load = ModelLoader()
    for policy in POLICIES:
        spec = RunSpec(model=DEFAULT_MODEL, policy=load_policy(policy), final_only=policy == "retranslation")
        found = run_evaluation(spec, open_dataset(lists), tmp_path / "ours" / policy, Settings(score=False), load=load)
        assert found is not None and not found.failed
        theirs = read_log(tmp_path / "theirs" / policy)
        assert [one.prediction for one in found.instances] == [line["prediction"] for line in theirs], policy
        assert [list(one.delays_ms) for one in found.instances] == [line["delays"] for line in theirs], policy
        assert any(one.prediction for one in found.instances), policy
