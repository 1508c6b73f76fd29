from collections.abc import Sequence

import numpy as np
import pytest

from simulst.core.events import EndEvent
from simulst.core.session import Session
from simulst.core.translator import Draw, Hypothesis
from simulst.errors import ModelError, PolicyError
from simulst.policies.taf import Taf, new_token_budget
from simulst.testing import ToyTranslator, toy_audio, toy_text
from simulst.testing.scripted import Scripted, ScriptedSession, ScriptedTranslator, ToyVocabulary

WORDS = ToyVocabulary(["_a", "_b", "_c", "_d"])


class Anticipating(ScriptedSession):
    """Hears one more word per chunk; translations of the heard source and of its continuations are told apart."""

    def __init__(self, model: ScriptedTranslator) -> None:
        super().__init__(model)
        self.sampled: list[tuple[int, int]] = []
        self.plain: tuple[int, ...] = ()
        self.futures: list[tuple[int, ...]] = []
        self.asked: list[list[str]] = []

    def transcript(self) -> str:
        return " ".join(f"w{i}" for i in range(self.extensions))

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        self.sampled.append((draw.n, draw.seed))
        return [f" future{i}" for i in range(draw.n)]

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        self.asked.append(list(texts))
        said = [self.plain, *self.futures] if len(texts) > 1 else [self.plain]
        return [Hypothesis(ids=ids, stop="eos") for ids in said]


class AnticipatingTranslator(ScriptedTranslator):
    def open(self) -> Anticipating:
        return Anticipating(self)


def session_of(futures: list[list[str]], plain: list[str], **parameters: object) -> tuple[Session, Anticipating]:
    model = AnticipatingTranslator(vocabulary=WORDS, script=[Scripted()] * 99)
    policy = Taf(continuations=len(futures), min_start=1, **parameters)  # type: ignore[arg-type]
    session = Session(model, policy, chunk_ms=400, history="keep_all")
    translator = session._translator
    assert isinstance(translator, Anticipating)
    translator.futures = [WORDS.encode(pieces) for pieces in futures]
    translator.plain = WORDS.encode(plain)
    return session, translator


def chunk(session: Session, count: int = 1) -> None:
    session.feed(np.zeros(6_400 * count, dtype=np.float32))


def test_what_six_of_ten_translations_begin_with_is_committed() -> None:
    futures = [["_a", "_b"], ["_a", "_c"], ["_a", "_d"]] * 2 + [["_b"]] * 4
    session, translator = session_of(futures, ["_a"])
    chunk(session, 2)
    assert session.text == "a"
    assert translator.asked[0][:2] == ["w0", "w0 future0"]  # the last word may be half heard
    assert translator.sampled == [(10, 1)]


def test_anticipated_words_are_those_the_heard_source_does_not_give() -> None:
    session, _ = session_of([["_a", "_b"]] * 3, ["_a"])
    chunk(session, 2)
    session.finish()
    assert session.stats.counts == {"committed_words": 2, "anticipated_words": 1}  # nobody was asked to judge


def test_anticipation_that_later_source_does_not_confirm_is_wrong() -> None:
    session, translator = session_of([["_a", "_b", "_c"]] * 3, ["_a"], judge=True)
    chunk(session, 2)
    translator.futures = [()] * 3
    translator.plain = WORDS.encode(["_a", "_b", "_d"])
    chunk(session)
    state = session._rule.state
    assert state is not None and [word for _, word in state.pending] == ["c"]
    end = session.finish()[-1]
    assert session.stats.counts["wrong_anticipated_words"] == 1
    assert isinstance(end, EndEvent) and end.counts["wrong_anticipated_words"] == 1
    assert end.to_json()["counts"] == end.counts


def test_nothing_is_asked_before_enough_is_heard_or_without_new_words() -> None:
    session, translator = session_of([["_a"]] * 2, [])
    chunk(session)
    assert translator.asked == []


@pytest.mark.parametrize(("source", "prefix", "budget"), [(12, 10, 28), (4, 30, -4)])
def test_budget(source: int, prefix: int, budget: int) -> None:
    assert new_token_budget(source, prefix, per_word=1.0) == budget


def test_no_budget_reads() -> None:
    session, _ = session_of([["_a"]] * 2, ["_a"])
    session._log.apply(WORDS.encode(["_a"]) * 25)
    chunk(session, 2)
    assert session.last_decision is not None
    assert session.last_decision.reason == "no budget"


def test_equal_seeds_give_equal_streams() -> None:
    words = [5, 17, 30, 2, 41, 8, 60, 11, 23, 40]
    texts = []
    for seed in (3, 3, 4):
        session = Session(ToyTranslator(), Taf(seed=seed, judge=True))
        session.feed(toy_audio(words))
        session.finish()
        texts.append(session.text)
        spoken = session.text.replace(".", "").split()
        anticipated = [word for word in spoken if word not in toy_text(words).replace(".", "").split()]
        assert session.stats.counts["wrong_anticipated_words"] >= len(anticipated)
    assert texts[0] == texts[1]


def test_single_continuation_is_refused() -> None:
    with pytest.raises(PolicyError, match="continuations is 1; it must be at least 2"):
        Taf(continuations=1)


def test_the_source_is_continued_by_the_model_that_is_named() -> None:
    session = Session(ToyTranslator(), Taf(source_model="nowhere"))
    with pytest.raises(ModelError, match="Unknown source model 'nowhere'; give a directory or a hub name"):
        session.feed(toy_audio([5, 17, 30, 2, 41, 8, 60, 11]))
