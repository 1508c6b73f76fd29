"""Which words a log counts, and when."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulst.core.events import WriteEvent
from simulst.core.policy import Decision
from simulst.core.session import Session
from simulst.core.translator import Hypothesis, Translator
from simulst.eval.metrics.emission import AppendedUnits, RevisedUnits, WordWriter
from simulst.policies.greedy import Greedy
from simulst.testing import Scripted, ScriptedTranslator, ToyVocabulary


@dataclass
class Speaking:
    """A session that says what it is told."""

    text: str = ""
    last_decision: Decision | None = None
    vocabulary: ToyVocabulary = field(default_factory=lambda: ToyVocabulary(["_das", "_Haus", ".", "_ist"]))

    @property
    def settled_text(self) -> str:
        return self.text

    @property
    def model(self) -> Translator:
        return ScriptedTranslator(vocabulary=self.vocabulary)

    def say(self, text: str, following: str | None) -> None:
        self.text += text
        next_id = None if following is None else self.vocabulary.encode([following])[0]
        hypothesis = Hypothesis(ids=(), stop="gate", next_id=next_id)
        self.last_decision = Decision(hypothesis=hypothesis)


def test_a_word_waits_for_its_full_stop() -> None:
    session = Speaking()
    writer = WordWriter(session)
    session.say("das Haus", ".")
    assert writer.take() == "das"
    session.say(".", "_ist")
    assert writer.take() == " Haus."


def test_a_word_goes_out_at_once_when_the_next_token_opens_another() -> None:
    session = Speaking()
    writer = WordWriter(session)
    session.say("das Haus", "_ist")
    assert writer.take() == "das Haus"
    session.say("", ".")
    assert writer.take() == ""
    session.say(" ist", None)  # nothing is known about what follows
    assert writer.take() == ""
    assert writer.take(final=True) == " ist"


def test_the_end_of_a_hypothesis_completes_its_last_word() -> None:
    session = Speaking(text="das Haus", last_decision=Decision(hypothesis=Hypothesis(ids=(), stop="eos")))
    assert WordWriter(session).take() == "das Haus"


def test_characters_do_not_wait() -> None:
    session = Speaking(text="猫坐", vocabulary=ToyVocabulary(["猫", "坐"], spaced=False))
    assert WordWriter(session).take() == "猫坐"


@given(st.lists(st.tuples(st.text(alphabet="ab .", max_size=4), st.sampled_from([None, ".", "_das"]))))
def test_nothing_is_lost_or_said_twice(says: list[tuple[str, str | None]]) -> None:
    session = Speaking()
    writer = WordWriter(session)
    taken = []
    for text, following in says:
        session.say(text, following)
        taken.append(writer.take())
    assert "".join([*taken, writer.take(final=True)]) == session.text


def test_units_of_a_session_have_the_time_of_their_write() -> None:
    vocabulary = ToyVocabulary(["_das", "_Haus", ".", "_Und"])
    lines = [["_das", "_Haus", "."], ["_Haus", "."], ["_Und"]]
    script = [Scripted(ids=vocabulary.encode(line)) for line in lines]
    session = Session(ScriptedTranslator(vocabulary=vocabulary, script=script), Greedy(), chunk_ms=400)
    units = AppendedUnits(session, "word")
    for _ in range(2):
        units.take(session.feed(np.zeros(6400, np.float32)), session.audio_s, 0.25)
    units.take(session.finish(), session.audio_s, 0.5, final=True)
    assert units.text == " ".join(units.units) == session.text
    assert [time for time, _ in units.times] == sorted(time for time, _ in units.times)
    assert units.times[-1] == (0.8, 1.3)


def write(text: str, audio_s: float, retract: int = 0) -> WriteEvent:
    return WriteEvent(text=text, retract=retract, audio_s=audio_s, wall_s=0.0, compute_s=audio_s / 10)


def test_revised_words_have_the_time_of_their_last_change() -> None:
    units = RevisedUnits("word")
    events = [
        write("das Haus is", 1),
        write("t alt", 2),
        write("us", 3, retract=len("Haus ist alt") - 2),
        write(" da", 4),
    ]
    units.take(events, 4, 0.4)
    assert units.text == "das Haus da"
    assert units.times == [(1, 1.1), (3, 3.3), (4, 4.4)]


def test_a_word_that_gets_shorter_has_changed_too() -> None:
    units = RevisedUnits("word")
    units.take([write("ein Hauses", 1), write("", 2, retract=2)], 2, 0.2)
    assert (units.text, units.times) == ("ein Haus", [(1, 1.1), (2, 2.2)])


def test_revised_characters() -> None:
    units = RevisedUnits("char")
    units.take([write("猫坐在", 1), write("睡 了", 2, retract=2)], 2, 0.2)
    assert (units.text, [audio for audio, _ in units.times]) == ("猫睡 了", [1, 2, 2])


@given(st.lists(st.tuples(st.integers(0, 6), st.text(alphabet="ab ", max_size=5)), max_size=8))
def test_there_is_a_time_for_every_unit_and_they_do_not_decrease(changes: list[tuple[int, str]]) -> None:
    units, shown = RevisedUnits("word"), ""
    for second, (retract, text) in enumerate(changes, 1):
        retract = min(retract, len(shown))
        shown = shown[: len(shown) - retract] + text
        units.take([write(text, second, retract)], second, 0.0)
    assert units.text.split() == shown.split()
    assert len(units.times) == len(shown.split())
    assert units.times == sorted(units.times)
