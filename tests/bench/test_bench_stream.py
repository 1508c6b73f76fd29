"""What `simulst bench stream` measures: sides that do the same work, and the counts it prints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulst.bench.batch import batch_cost
from simulst.bench.compare import capture_cost, in_turn, reencode_cost
from simulst.bench.reencode import reencoding
from simulst.core.session import Session
from simulst.core.translator import FloatArray
from simulst.models import load_model
from simulst.policies import load_policy
from simulst.testing.speech_llm import make_tiny_speech_llm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


def noise(seconds: float, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(16_000 * seconds))).astype(np.float32)


def test_both_sides_have_their_turn_first() -> None:
    calls, ticks = list[str](), iter(range(100))
    spent = in_turn(lambda n: calls.append(f"a{n}"), lambda n: calls.append(f"b{n}"), 3, lambda: float(next(ticks)))
    assert calls == ["b0", "a0", "a1", "b1", "b2", "a2"]
    assert spent == (3.0, 3.0)


@pytest.mark.parametrize(
    ("policy", "options"),
    [("stream_att-f4", {}), ("gpe_wait_k-3", {"positions": "grouped"}), ("read_write-low", {"cache": "evict"})],
)
def test_the_re_encoding_side_feeds_the_decoder_again(folder: Path, policy: str, options: dict[str, Any]) -> None:
    model, talk = load_model(folder, **options), noise(12.0)
    loaded = load_policy(policy, words="fixed") if "wait_k" in policy else load_policy(policy)
    sessions = [Session(one, loaded, chunk_ms=640) for one in (model, reencoding(model))]
    for session in sessions:
        session.feed(talk)
        session.finish()
    once, again = sessions
    assert again.text
    assert again.audio_s == once.audio_s == 12.0
    assert once.decoder_positions is not None and again.decoder_positions is not None
    assert again.decoder_positions > 1.5 * once.decoder_positions


def test_sides_of_the_comparison(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulst.bench.compare.WARM_S", 2.0)
    monkeypatch.setattr("simulst.bench.compare.COMPARED_S", 4.0)
    model, talk = load_model(folder), noise(8.0)
    session = Session(model, load_policy("wait_k-3"))
    found = reencode_cost(model, "wait_k-3", session, lambda n: talk[n * 10_240 : (n + 1) * 10_240])
    assert set(found) == {"cost_ms", "ratio", "rtf", "positions_per_token"}
    assert found["positions_per_token"]["reencode"] > found["positions_per_token"]["incremental"]
    cost = capture_cost(model, [talk[at : at + 10_240] for at in range(0, 61_440, 10_240)])
    assert 0.5 < cost["ratio"] < 5


def test_streams_together_say_the_same(folder: Path) -> None:
    model = load_model(folder)
    found = batch_cost(model, "wait_k-3", None, noise(24.0), streams=3, seconds=4.0, threads=(1, 1))
    assert (found["streams"], found["same_text"]) == (3, 3)
    assert found["together"]["requests_per_forward"] > 1
    assert found["ratio_cpu"] > 0
