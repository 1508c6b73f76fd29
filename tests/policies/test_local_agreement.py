from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.core.policy import Policy
from simulst.core.session import Session
from simulst.errors import PolicyError
from simulst.models.cascade import Cascade
from simulst.models.halves import Options
from simulst.policies.consensus import Consensus
from simulst.policies.local_agreement import LocalAgreement
from simulst.testing import Scripted, ScriptedTranslator, ToyTranslator, ToyVocabulary, play, toy_audio

WORDS = ToyVocabulary(["_a", "_b", "_c", "_d", "_x", "_y", "e"])


def says(pieces: str, stop: str = "eos") -> Scripted:
    return Scripted(ids=WORDS.encode(pieces.split()), stop=stop)  # type: ignore[arg-type]


def test_hypotheses_are_compared_after_what_is_committed() -> None:
    script = [says("_a _b _c _d"), says("_a _b _x"), says("_x _y"), says("_y")]
    session, shown = play(LocalAgreement(n=2), script, WORDS)
    assert shown == ["", "a b", "a b x", "a b x y"]
    assert session._translator.prefixes[2] == WORDS.encode(["_a", "_b"])  # type: ignore[attr-defined]


def test_equal_hypotheses_are_committed_whole() -> None:
    assert play(LocalAgreement(n=2), [says("_a _b")] * 2, WORDS)[1] == ["", "a b"]


def test_word_that_one_hypothesis_continues_waits() -> None:
    assert play(LocalAgreement(n=2), [says("_a _b"), says("_a _b e")], WORDS)[1] == ["", "a"]
    assert play(LocalAgreement(n=2), [says("_a _b e"), says("_a _b")], WORDS)[1] == ["", "a"]
    assert play(LocalAgreement(n=2), [says("_a _b", "length")] * 2, WORDS)[1] == ["", "a"]


def test_three_must_agree_when_n_is_three() -> None:
    script = [says("_a _b _c"), says("_a _b _x"), says("_a _y")]
    assert play(LocalAgreement(n=3), script, WORDS)[1] == ["", "", "a"]


def test_reset_forgets_earlier_hypotheses() -> None:
    session, _ = play(LocalAgreement(n=2), [says("_a")] * 2, WORDS, chunks=1)
    session.reset()
    state = session._rule.state
    assert state is not None and state.recent == []


def test_finish_translates_all_audio_anew() -> None:
    session, shown = play(LocalAgreement(n=2), [says("_a _b"), says("_a _c")], WORDS, chunks=1)
    session.finish()
    assert (shown, session.text) == ([""], "a c")


def test_one_hypothesis_cannot_agree() -> None:
    with pytest.raises(PolicyError, match="n is 1; it must be at least 2"):
        LocalAgreement(n=1)


# -- agreement needs new source -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [LocalAgreement(n=2), Consensus(ratio=0.9)])
def test_same_source_does_not_agree_with_itself(policy: Policy) -> None:
    """A model that hears in blocks of three chunks: two hypotheses about one block are one."""
    script = [says("_a _b"), says("_a _x"), says("_x _y")] * 9
    model = ScriptedTranslator(vocabulary=WORDS, script=script, block=3 * 6_400)
    session = Session(model, policy, chunk_ms=400, history="keep_all")
    shown = []
    for _ in range(7):
        session.feed(np.full(6_400, 0.1, dtype=np.float32))
        shown.append(session.text)
    assert len(model.opened[-1].prefixes) == 3
    agreed = ["", "", "a", "a", "a", "a x", "a x"]
    assert shown == (agreed if isinstance(policy, LocalAgreement) else [""] * 7)


@given(
    words=st.lists(st.integers(0, 59).filter(lambda word: word == 0 or word % 10 > 0), min_size=4, max_size=16),
    chunk_ms=st.sampled_from([40, 80, 160, 320]),
)
@settings(max_examples=15, deadline=None)
def test_cascade_decodes_only_when_the_recogniser_said_more(words: list[int], chunk_ms: int) -> None:
    cascade = Cascade(ToyTranslator(), ToyTranslator(), name="toy+toy", options=Options())
    session = Session(cascade, LocalAgreement(n=2), chunk_ms=chunk_ms)
    decoded: list[str] = []
    hypothesise = session._translator.hypothesise

    def counted(*given: Any, **named: Any) -> Any:
        decoded.append(session._translator.transcript())
        return hypothesise(*given, **named)

    session._translator.hypothesise = counted  # type: ignore[method-assign]
    for piece in np.array_split(toy_audio(words), 8):
        session.feed(piece)
    assert all(before != after for before, after in pairwise(decoded))


def test_what_was_shown_of_the_newest_hypothesis_stays_while_nothing_new_is_heard() -> None:
    model = ScriptedTranslator(vocabulary=WORDS, script=[says("_a _b")] * 4, block=3 * 6_400)
    session = Session(model, LocalAgreement(n=2), chunk_ms=400, history="keep_all", hypotheses=True)
    events = [event for _ in range(2) for event in session.feed(np.full(6_400, 0.1, dtype=np.float32))]
    assert [event.text for event in events] == [" a b"]
