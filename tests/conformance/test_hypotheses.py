"""The hostile cases that concern hypotheses: 9-18 of the list, for every policy on scripted hypotheses."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from simulst.core.events import EndEvent, WriteEvent
from simulst.core.session import Session
from simulst.core.translator import Evidence, FloatArray
from simulst.errors import EvidenceError
from simulst.policies import load_policy
from simulst.testing import Scripted, ScriptedTranslator, ToyVocabulary

Stop = Literal["eos", "length", "gate", "repeat"]


def session_of(policy: str, lines: Sequence[Scripted], vocabulary: ToyVocabulary) -> Session:
    model = ScriptedTranslator(vocabulary=vocabulary, script=lines, source_words=range(1, 999))
    return Session(model, load_policy(policy), chunk_ms=400)


def line(vocabulary: ToyVocabulary, pieces: str, *, stop: Stop = "eos", weights: FloatArray | None = None) -> Scripted:
    ids = vocabulary.encode(pieces.split())
    return Scripted(ids=ids, stop=stop, weights=weights, logprobs=(-0.1,) * len(ids), others=(ids,) * 9)


def say(policy: str, pieces: str, *, stop: Stop = "eos", spaced: bool = True, chunks: int = 12) -> Session:
    """The policy on a model that says `pieces` until something is committed, and nothing after that."""
    vocabulary = ToyVocabulary(pieces.split(), spaced=spaced)
    session = session_of(policy, [], vocabulary)
    told = line(vocabulary, pieces, stop=stop)
    silent = Scripted(logprobs=(), others=((),) * 9)
    retracts = session.revises
    events = []
    for _ in range(chunks):
        rest = told if retracts or not session._log.kept else silent
        session.model.script = [rest] * 999  # type: ignore[attr-defined]
        events += session.feed(np.zeros(6_400, dtype=np.float32))
    session.model.script = [told if retracts or not session._log.kept else silent] * 999  # type: ignore[attr-defined]
    events += session.finish()
    shown = ""
    for event in events:
        if isinstance(event, WriteEvent):
            assert event.text or event.retract
            assert "\ufffd" not in event.text
            shown = shown[: len(shown) - event.retract] + event.text
    assert shown == session.text
    assert isinstance(events[-1], EndEvent)
    return session


def test_09_only_the_end_of_the_sequence(policy: str) -> None:
    assert say(policy, "").text == ""


def test_10_limit_of_new_tokens_without_end(policy: str) -> None:
    session = say(policy, "_a " * 400, stop="length")
    assert set(session.text.split()) <= {"a"}
    if {Evidence.SESSION_TOKENS, Evidence.TRANSDUCER} & load_policy(policy).policy.needs():
        assert session.stats.tokens <= 400  # the model ends its own turns; the write cap of each is a test of theirs
    else:
        assert session.stats.tokens < 400


def test_11_one_token_for_ever(policy: str) -> None:
    session = say(policy, "x " * 400, stop="length")
    assert set(session.text) <= {"x"}


def test_12_model_that_ignored_the_prefix(policy: str) -> None:
    vocabulary = ToyVocabulary(["_a", "_b"])
    lying = Scripted(ids=vocabulary.encode(["_a"]), weights=np.ones((1, 10), dtype=np.float32), history=7)
    session = session_of(policy, [lying] * 99, vocabulary)
    want = session.policy.needs() | session.selector.wants
    try:
        for _ in range(5):
            session.feed(np.zeros(6_400, dtype=np.float32))
        session.finish()
        assert Evidence.ALIGNMENT not in want or session.stats.steps == 6
    except EvidenceError as error:
        assert "contradicts itself: alignment covers 7 prefix tokens" in str(error)
        assert session.text == ""


def test_13_character_over_several_tokens(policy: str) -> None:
    assert say(policy, "_a <0xF0> <0x9F> <0x98> <0x80>").text in ("a\U0001f600", "a")


def test_14_lost_leading_space(policy: str) -> None:
    vocabulary = ToyVocabulary(["das", "Haus"])
    session = session_of(policy, [line(vocabulary, "das")] * 99, vocabulary)
    for _ in range(9):
        session.feed(np.zeros(6_400, dtype=np.float32))
    session._trim(len(session._log.kept), None)
    before = session.text
    session.model.script = [line(vocabulary, "Haus")] * 999  # type: ignore[attr-defined]
    session._rule.restart()
    session.finish()
    assert session.text == (f"{before} Haus" if before else "Haus")


def test_15_punctuation_only(policy: str) -> None:
    assert "..!".startswith(say(policy, ". . !").text)


def test_16_script_without_spaces(policy: str) -> None:
    assert "今日は晴れ。".startswith(say(policy, "今日 は 晴れ 。", spaced=False).text)


def test_17_decimal_marks_stay_in_their_number(policy: str) -> None:
    assert say(policy, "_3 . 5 _km").text in ("3.5 km", "3.5")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_18_evidence_that_is_not_finite(policy: str, bad: float) -> None:
    vocabulary = ToyVocabulary(["_a", "_b"])
    ids = vocabulary.encode(["_a", "_b"])
    lines = [Scripted(ids=ids, fill=bad, logprobs=(bad, bad), others=(ids,) * 9)] * 99
    session = session_of(policy, lines, vocabulary)
    for _ in range(5):
        session.feed(np.zeros(6_400, dtype=np.float32))
        decision = session.last_decision
        assert decision is not None
        if decision.reason == "evidence is not finite":
            assert (decision.commit, decision.retract) == (0, 0)
            assert decision.diagnostics["not_finite"] == session.stats.not_finite
    assert session.text == "" or Evidence.SOURCE_LM in load_policy(policy).policy.needs()
    session.finish()
