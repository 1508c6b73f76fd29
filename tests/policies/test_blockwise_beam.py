"""Blockwise beam search: where a block is used up, what is rolled back, what all beams agree on."""

from collections.abc import Sequence

import numpy as np
import pytest

from simulst.core.session import Session
from simulst.core.translator import DECODING, Evidence
from simulst.errors import PolicyError
from simulst.policies import load_policy
from simulst.policies.blockwise_beam import BlockwiseBeam, BlockwiseBeamState
from simulst.testing import Scripted, ScriptedTranslator, ToyTranslator, ToyVocabulary

VOCABULARY = ToyVocabulary(["_a", "_b", "_c", "d", "_e", "_f"])
PLAIN = frozenset({Evidence.PREFIX, Evidence.NBEST})
SOUND = np.full(6_400, 0.1, dtype=np.float32)
END = "</s>"


def ids(text: str) -> tuple[int, ...]:
    return () if text == END else VOCABULARY.encode(text.split())


def next_token(best: str, second: str = "") -> Scripted:
    """What the model says of one beam: the best next token (score 0) and the second (score -1)."""
    return Scripted(
        ids=ids(best), stop="eos" if best == END else "length", others=(ids(second),) if second else (), logprobs=None
    )


def session_of(lines: Sequence[Scripted], **parameters: int) -> tuple[Session, ScriptedTranslator]:
    model = ScriptedTranslator(vocabulary=VOCABULARY, script=lines, provides=PLAIN)
    return Session(model, BlockwiseBeam(**parameters), chunk_ms=400, history="keep_all"), model


def state_of(session: Session) -> BlockwiseBeamState:
    state = session._rule.state
    assert isinstance(state, BlockwiseBeamState)
    return state


def prefixes(model: ScriptedTranslator) -> list[str]:
    return [VOCABULARY.decode(prefix).strip() for prefix in model.opened[-1].prefixes]


def test_one_beam_stops_where_the_hypothesis_ends_and_takes_its_last_token_back() -> None:
    lines = [next_token("_a"), next_token("_b"), next_token("_c"), next_token(END)]
    session, model = session_of(lines, beams=1)
    session.feed(SOUND)
    assert prefixes(model)[:4] == ["", "a", "a b", "a b c"]
    assert session.text == "a"  # c is rolled back; whether b is whole is not known yet


def test_next_block_goes_on_from_what_was_rolled_back() -> None:
    first = [next_token("_a"), next_token("_b"), next_token("_c"), next_token(END)]
    second = [next_token("_e"), next_token("_f"), next_token(END)]
    session, model = session_of([*first, *second], beams=1, rollback=1)
    session.feed(SOUND)
    session.feed(SOUND)
    assert prefixes(model)[4:7] == ["a b", "a b e", "a b e f"]
    assert session.text == "a b"


def test_no_rollback_keeps_the_last_token() -> None:
    session, _ = session_of([next_token("_a"), next_token("_b"), next_token(END)], beams=1, rollback=0)
    session.feed(SOUND)
    assert session.text == "a"


def test_repetition_ends_a_block_once_and_is_said_when_the_next_block_says_it_again() -> None:
    first = [next_token("_a"), next_token("_b"), next_token("_a")]
    second = [next_token("_a"), next_token("_c"), next_token("_e"), next_token(END)]
    session, model = session_of([*first, *second], beams=1, rollback=0, window=2)
    session.feed(SOUND)
    assert session.text == "a"
    session.feed(SOUND)
    assert prefixes(model) == ["", "a", "a b", "a b", "a b a", "a b a c", "a b a c e"]
    assert session.text == "a b a c"


def test_repetition_further_back_is_none() -> None:
    lines = [next_token("_a"), next_token("_b"), next_token("_c"), next_token("_a"), next_token(END)]
    session, model = session_of(lines, beams=1, rollback=0, window=2)
    session.feed(SOUND)
    assert len(prefixes(model)) == 5


def test_two_beams_write_what_both_begin_with() -> None:
    lines = [
        next_token("_a", "_b"),  # a 0, b -1
        next_token("_c", "_e"),  # a c 0, a e -1
        next_token("_f", "_e"),  # b f -1, b e -2: the best two are a c and a e
        next_token("_f"),
        next_token("_f"),
        next_token(END),
        next_token("_a"),
    ]
    session, model = session_of(lines, beams=2, agreeing=2)
    session.feed(SOUND)
    assert prefixes(model) == ["", "a", "b", "a c", "a e", "a c f", "a e f"]
    assert session.text == "a"
    assert [VOCABULARY.decode(beam.ids).strip() for beam in state_of(session).beams] == ["a c", "a e"]


def test_word_is_written_once_all_beams_begin_another_one() -> None:
    lines = [next_token("_a"), next_token("_b", "_c"), next_token("_e"), next_token("_e"), next_token(END)]
    session, _ = session_of(lines, beams=2)
    session.feed(SOUND)
    assert session.text == "a"
    assert [beam.ids for beam in state_of(session).at(1)] == [ids("_b"), ids("_c")]


def test_word_that_one_beam_goes_on_with_waits() -> None:
    lines = [next_token("_a"), next_token("_b", "d"), next_token("_e"), next_token("_e"), next_token(END)]
    session, _ = session_of(lines, beams=2)
    session.feed(SOUND)
    assert session.text == ""


def test_best_beams_may_overrule_the_others() -> None:
    lines = [next_token("_a", "_b"), next_token("_c"), next_token("_c"), next_token(END), next_token(END)]
    session, _ = session_of(lines, beams=2, agreeing=1, rollback=0)
    session.feed(SOUND)
    assert session.text == "a"


def test_source_that_did_not_change_is_not_searched_again() -> None:
    model = ScriptedTranslator(vocabulary=VOCABULARY, block=16_000, provides=PLAIN)
    session = Session(model, BlockwiseBeam(beams=1), chunk_ms=200)
    for _ in range(4):
        session.feed(SOUND[:3_200])
    assert len(model.opened[-1].prefixes) == 1


def test_model_without_beams_is_refused() -> None:
    with pytest.raises(PolicyError, match="Policy blockwise_beam needs nbest, which model toy does not provide"):
        Session(ToyTranslator(provides=DECODING - {Evidence.NBEST}), load_policy("blockwise_beam"))
