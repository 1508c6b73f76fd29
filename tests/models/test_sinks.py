"""Attention sinks on a tiny random speech LLM: the first entries outlive what they stood for."""

from pathlib import Path

import numpy as np
import pytest

from simulst.core.session import Session
from simulst.core.turns import SinkSelector
from simulst.errors import ModelError
from simulst.models import load_model
from simulst.models.speech_llm.interleaved import InterleavedStream
from simulst.models.speech_llm.session import SpeechLLMSession
from simulst.policies import load_policy
from simulst.testing.speech_llm import make_tiny_speech_llm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


def listening(folder: Path, *, entries: int, sinks: int, steps: int, policy: str = "infinite-sinks") -> Session:
    settings = {"history.max_entries": entries, "history.sinks": sinks}
    session = Session(load_model(folder), load_policy(policy, **settings), chunk_ms=672)
    for step in range(steps):
        noise = 0.1 * np.random.default_rng(step).standard_normal(10_752)
        session.feed(noise.astype(np.float32))
    return session


def stream_of(session: Session) -> InterleavedStream:
    assert isinstance(session._history, SinkSelector)
    assert isinstance(session._translator, SpeechLLMSession)
    stream = session._translator._interleaved
    assert stream is not None
    return stream


def kinds(stream: InterleavedStream) -> str:
    return "".join("R" if entry.kind == "read" else entry.kind[0] for entry in stream.entries)


def test_first_and_newest_entries_stay_and_nothing_is_computed_again(folder: Path) -> None:
    before = listening(folder, entries=9_999, sinks=4, steps=3)
    first = stream_of(before).cache.layers[0].keys[:, :, :7].clone()
    session = listening(folder, entries=60, sinks=4, steps=30)
    stream = stream_of(session)
    assert kinds(stream)[:7] == "pppssss" and kinds(stream).count("s") == 4
    assert stream.cache.layers[0].keys[:, :, :7].equal(first)  # the very keys of the beginning, where they were
    assert stream.cache.positions == list(range(len(stream.cache)))
    assert len(stream.entries) <= 3 + 4 + 60 + 2
    fed = session.decoder_positions
    assert fed is not None and fed < 30 * 40  # every entry once, and those that were read too far


def test_last_entries_are_the_newest_however_turns_lie(folder: Path) -> None:
    stream = stream_of(listening(folder, entries=66, sinks=0, steps=12))
    assert kinds(stream)[:3] == "ppp" and "s" not in kinds(stream)
    numbers = [entry.value for entry in stream.entries if entry.kind == "vector"]
    assert numbers == list(range(numbers[0], stream.next)) and numbers[0] % stream.weights.block_vectors


def test_sinks_need_a_cache_that_can_keep_them(folder: Path) -> None:
    for cache in ("rebuild", "none"):
        with pytest.raises(ModelError, match=r"Attention sinks .*; load with cache=evict"):
            Session(load_model(folder, cache=cache), load_policy("infinite-sinks"))


def test_models_that_read_and_write_by_themselves_keep_sinks_too(folder: Path) -> None:
    session = listening(folder, entries=40, sinks=3, steps=1, policy="infinite-sinks")
    assert isinstance(session._history, SinkSelector)
    own = Session(load_model(folder), load_policy("read_write"), history=session.selector)
    for step in range(12):
        own.feed((0.1 * np.random.default_rng(step).standard_normal(16_000)).astype(np.float32))
    assert kinds(stream_of(own))[:6].replace("w", "s") == "pppsss"  # a mark whose text is kept is no sink yet
