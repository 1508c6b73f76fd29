"""Streams of recognisers that write as they hear: what a policy is told, and what is forgotten."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from simulst import Session, load_model, load_policy
from simulst.core.source import FloatArray
from simulst.core.translator import Evidence, Hypothesis, Query, TokenStep, Verdict
from simulst.errors import ModelError, SimulstError
from simulst.models.synchronous.session import Emission, SynchronousSession
from simulst.models.vocabulary import PieceVocabulary
from simulst.policies import POLICIES
from simulst.testing.streaming_checkpoints import tiny_nemotron, tiny_voxtral_realtime

EACH = frozenset({Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS, Evidence.LOGPROBS})
WORDS = [b" the", b" cat", b"s", b" sat", b".", b""]


@dataclass
class Written:
    """A stream that writes token n - 1 at the frame n of 0.1 s where its audio is n / 10 loud."""

    frames: int = 0
    between_words: bool = False

    def hear(self, samples: FloatArray, *, is_final: bool) -> list[Emission]:
        levels = np.rint(samples.reshape(-1, 1600).mean(axis=1) * 10).astype(int) if len(samples) else []
        found = [
            Emission(id=int(level) - 1, frame=self.frames + i, logprob=-0.1 * int(level))
            for i, level in enumerate(levels)
            if level
        ]
        self.frames += len(levels)
        return found


class Writer:
    name = "writer"
    vocabulary = PieceVocabulary(WORDS, eos=5)
    frame_samples = 1600

    def stream(self) -> Written:
        return Written()


def audio(*levels: int) -> FloatArray:
    return np.repeat(np.array(levels, dtype=np.float32) / 10, 1600)


def opened(*levels: int, is_final: bool = False) -> SynchronousSession:
    session = SynchronousSession(Writer())
    session.extend_source(audio(*levels), is_final=is_final)
    return session


def asked(session: SynchronousSession, prefix: tuple[int, ...] = (), **query: Any) -> Hypothesis:
    (found,) = session.hypothesise(prefix, Query(**query))
    return found


def test_what_was_written_is_told_after_the_prefix_with_rows_on_its_frames() -> None:
    session = opened(1, 0, 2, 3, 0)
    found = asked(session, (0,), want=EACH)
    assert (found.ids, found.stop, found.next_id) == ((1, 2), "length", None)
    assert found.logprobs == pytest.approx((-0.2, -0.3)) and found.score == pytest.approx(-0.25)
    rows = found.alignment
    assert rows is not None and rows.heads is not None and (rows.history, rows.n_valid) == (1, 5)
    assert rows.weights.argmax(axis=1).tolist() == [0, 2, 3] and rows.weights.sum() == 3 and rows.frame_s == 0.1
    assert np.array_equal(rows.heads, rows.weights[None])
    assert asked(session).ids == (0, 1, 2) and asked(session).alignment is None
    assert (session.start_s, session.heard_s, session.source_end) == (0, 0.5, 5)
    assert session.transcript() == "the cats"


def test_a_pause_and_the_end_make_the_last_word_whole() -> None:
    session = opened(1, 2)
    assert asked(session).stop == "length"
    session._stream.between_words = True  # type: ignore[misc]
    assert (asked(session).stop, asked(session).next_id) == ("eos", 5)
    session._stream.between_words = False  # type: ignore[misc]
    session.extend_source(audio(), is_final=True)
    assert asked(session, (0, 1)).stop == "eos" and asked(session, (0, 1)).ids == ()


def test_caps_and_gates_say_which_token_would_come_next() -> None:
    session = opened(1, 2, 3, 4)
    capped = asked(session, (0,), max_new=1)
    assert (capped.ids, capped.stop, capped.next_id) == ((1,), "length", 2)
    assert asked(session, max_new=0).ids == ()

    def gate(verdict: Verdict, seen: list[TokenStep]) -> Any:
        def judge(step: TokenStep) -> Verdict:
            seen.append(step)
            return verdict if step.token == 2 else "continue"

        return judge

    seen: list[TokenStep] = []
    dropped = asked(session, gate=gate("stop_drop", seen), want=EACH)
    assert (dropped.ids, dropped.stop, dropped.next_id) == ((0, 1), "gate", 2)
    assert [(one.index, int(one.weights.argmax())) for one in seen if one.weights is not None] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    assert [one.n_valid for one in seen] == [4, 4, 4] and seen[1].logprob == pytest.approx(-0.2)
    kept = asked(session, gate=gate("stop_keep", []))
    assert (kept.ids, kept.stop, kept.next_id) == ((0, 1, 2), "gate", 3)


def test_text_that_it_did_not_write_is_refused() -> None:
    session = opened(1, 2)
    for prefix in ((1,), (0, 2), (0, 1, 2)):
        with pytest.raises(
            ModelError, match=r"^Model writer writes while it hears and cannot go on from text that it "
        ):
            session.hypothesise(prefix)


def test_forgotten_audio_leaves_its_words_until_they_are_forgotten_too() -> None:
    session = opened(1, 2, 0, 4)
    session.drop_source(0.25)
    assert session.start_s == pytest.approx(0.2) and session.transcript() == "sat"
    found = asked(session, (0,), want=EACH)
    assert found.ids == (1, 3) and found.alignment is not None and found.alignment.start_s == pytest.approx(0.2)
    assert found.alignment.weights.tolist() == [[0, 0], [0, 0], [0, 1]]
    session.drop_target(1)
    assert len(session._emitted) == 2 and asked(session, (1,)).ids == (3,)
    session.drop_target(2)
    assert [one.id for one in session._emitted] == [3] and asked(session).ids == () and session.transcript() == "sat"
    session.drop_source(9.0)
    assert not session._emitted and session.start_s == session.heard_s == pytest.approx(0.4)
    session.extend_source(audio(5))
    assert asked(session, want=EACH).ids == (4,)


def test_nothing_was_heard_and_nothing_more_may_come() -> None:
    session = SynchronousSession(Writer())
    found = asked(session, want=EACH)
    assert found.ids == () and found.alignment is not None and found.alignment.weights.shape == (0, 0)
    session.extend_source(audio(), is_final=True)
    assert asked(session).ids == () and session.heard_s == 0
    with pytest.raises(ValueError, match="the source has ended"):
        session.extend_source(audio(1))
    with pytest.raises(SimulstError, match=r"^Audio must be mono samples that are finite numbers\.$"):
        opened().extend_source(np.array([np.nan], dtype=np.float32))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("models")
    yield {
        "nemotron": load_model(tiny_nemotron(folder / "nemotron"), delay_ms=560),
        "voxtral": load_model(tiny_voxtral_realtime(folder / "voxtral")),
    }


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("kind", ["nemotron", pytest.param("voxtral", marks=pytest.mark.slow)])
def test_every_policy_runs_or_refuses_in_a_sentence(
    models: dict[str, Any], noise: FloatArray, kind: str, policy: str
) -> None:
    model, chosen = models[kind], load_policy(policy)
    lacks = chosen.policy.needs() - model.provides
    try:
        session = Session(model, chosen, chunk_ms=640)
        session.feed(noise[:13_000])
        session.finish()
    except SimulstError as refused:
        assert lacks and "does not provide" in str(refused)
    else:
        assert not lacks and session.text == said(model, noise[:13_000])


def said(model: Any, audio: FloatArray) -> str:
    """All that a model writes about a recording."""
    session = model.open()
    session.extend_source(audio, is_final=True)
    text: str = model.vocabulary.decode(session.hypothesise(())[0].ids).strip()
    return text


@pytest.mark.parametrize("kind", ["nemotron", pytest.param("voxtral", marks=pytest.mark.slow)])
def test_two_streams_never_touch(models: dict[str, Any], noise: FloatArray, kind: str) -> None:
    model = models[kind]
    pieces = [noise[:12_000], noise[40_000:52_000]]
    sessions = [model.open(), model.open()]
    for at in range(0, 12_000, 3_001):
        for session, one in zip(sessions, pieces, strict=True):
            session.extend_source(one[at : at + 3_001], is_final=at + 3_001 >= 12_000)
    texts = [model.vocabulary.decode(one.hypothesise(())[0].ids).strip() for one in sessions]
    assert texts == [said(model, one) for one in pieces] and texts[0] != texts[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nemotron", "voxtral"])
def test_a_long_stream_forgets_and_loses_no_word(models: dict[str, Any], noise: FloatArray, kind: str) -> None:
    model = models[kind]
    session = Session(model, load_policy("greedy", **{"history.method": "fixed_words", "history.words": 5}))
    most, recording = 0, np.concatenate([noise] * 3)
    for at in range(0, len(recording), 16_000):
        session.feed(recording[at : at + 16_000])
        most = max(most, len(session._translator._emitted))  # type: ignore[attr-defined]
    session.finish()
    assert session.text == said(model, recording) and len(session.text.split()) > 20
    assert most < 120 and session._translator.start_s > 7


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nemotron", "voxtral"])
def test_it_hears_for_a_text_model(models: dict[str, Any], noise: FloatArray, kind: str, tmp_path: Path) -> None:
    name, audio = f"{models[kind].directory}+tiny-en-de", tmp_path / "noise.wav"
    soundfile.write(audio, noise[:24_000], 16_000, subtype="FLOAT")
    cascade = load_model(name, recogniser_policy="greedy")
    session = Session(cascade, load_policy("wait_k"))
    session.feed(noise[:24_000])
    assert session.transcript()
    session.finish()
    heard = load_model(models[kind].directory)
    assert session._translator.source_words() == len(said(heard, noise[:24_000]).split()) > 3 and session.text
    command = ["translate", str(audio), "--model", name, "--policy", "wait_k", "--set", "recogniser_policy=greedy"]
    done = subprocess.run([sys.executable, "-m", "simulst", *command], capture_output=True, text=True, check=True)
    assert done.stdout.split() == session.text.split()
