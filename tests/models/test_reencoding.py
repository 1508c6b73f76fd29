"""Without a decoder cache the same is said and much more is computed; what that costs reaches the scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulst.core.session import Session
from simulst.errors import ModelError
from simulst.eval.logs.instances import Instance
from simulst.eval.score.inputs import score_instances
from simulst.models import load_model
from simulst.policies import load_policy
from simulst.testing.speech_llm import make_tiny_speech_llm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


def speak(folder: Path, policy: str, **options: Any) -> Session:
    rng = np.random.default_rng(3)
    session = Session(load_model(folder, **options), load_policy(policy), chunk_ms=320)
    session.feed((0.1 * rng.standard_normal(80_000)).astype(np.float32))
    session.finish()
    return session


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["wait_k-3", "read_write-low", "stream_att-f4"])
def test_the_same_text_for_more_decoder_entries(folder: Path, policy: str) -> None:
    cached, anew = speak(folder, policy), speak(folder, policy, cache="none")
    assert cached.text == anew.text != ""
    assert cached.decoder_positions is not None and anew.decoder_positions is not None
    assert anew.decoder_positions > 1.5 * cached.decoder_positions


def test_grouped_positions_need_the_cache(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"^Grouped positions rest on what is cached; leave out"):
        load_model(folder, cache="none", positions="grouped")


def test_positions_per_token_are_those_of_the_whole_run() -> None:
    logs = [(30, 10), (50, 10), (7, 0)]
    instances = [
        Instance(index=i, source="a", prediction="", extra={"decoder_positions": positions, "tokens": tokens})
        for i, (positions, tokens) in enumerate(logs)
    ]
    assert score_instances(instances, ["ein Wort"] * len(instances))["PositionsPerToken"] == 87 / 20
    assert "PositionsPerToken" not in score_instances([Instance(index=0, source="a", prediction="")], ["ein Wort"])
