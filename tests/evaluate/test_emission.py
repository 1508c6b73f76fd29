"""Which words a log counts, and when."""

from collections.abc import Iterator
from typing import Literal

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from simulst.core.boundary import opens_word
from simulst.core.events import EndEvent, ProgressEvent, SinkEvent, WriteEvent
from simulst.core.policy import Decision
from simulst.core.session import Session
from simulst.core.translator import Hypothesis
from simulst.eval.run.record import AppendedUnits, EvaluationLog, RevisedUnits
from simulst.policies import load_policy
from simulst.policies.greedy import Greedy
from simulst.sinks.drive import drive, hand
from simulst.sinks.words import WordWriter
from simulst.testing import Scripted, ScriptedTranslator, ToyTranslator, ToyVocabulary, toy_audio, toy_text

VOCABULARY = ToyVocabulary(["_das", "_Haus", ".", "_ist", "_Und"])


def events_of(says: list[tuple[str, bool]]) -> Iterator[SinkEvent]:
    length = 0
    for text, whole in says:
        length += len(text)
        yield WriteEvent(text=text, audio_s=1.0, wall_s=1.0, settled=length)
        yield ProgressEvent(step=1, audio_s=1.0, wall_s=1.0, compute_s=0.0, settled=length, whole=whole)


def given(says: list[tuple[str, bool]]) -> list[str]:
    writer, taken = WordWriter(), []
    for event in events_of(says):
        writer.handle(event)
        if isinstance(event, ProgressEvent):
            taken.append(writer.take())
    writer.handle(EndEvent(text="", audio_s=1.0, wall_s=1.0, rtf=0.0))
    return [*taken, writer.take()]


def decided(following: str | None, stop: Literal["eos", "gate"] = "gate") -> Decision:
    next_id = None if following is None else VOCABULARY.encode([following])[0]
    return Decision(hypothesis=Hypothesis(ids=(), stop=stop, next_id=next_id))


def test_a_word_is_whole_once_the_next_token_opens_another() -> None:
    assert opens_word(decided("_ist"), VOCABULARY) and opens_word(decided(None, "eos"), VOCABULARY)
    assert not opens_word(decided("."), VOCABULARY)
    assert not opens_word(decided(None), VOCABULARY)  # nothing is known about what follows
    assert not opens_word(None, VOCABULARY)


def test_a_word_waits_for_its_full_stop() -> None:
    assert given([("das Haus", False), (".", True)]) == ["das", " Haus.", ""]


def test_a_word_goes_out_at_once_when_it_is_whole() -> None:
    assert given([("das Haus", True), ("", False), (" ist", False)]) == ["das Haus", "", "", " ist"]


def test_text_that_may_be_taken_back_waits() -> None:
    writer = WordWriter()
    writer.handle(WriteEvent(text="das Haus ist", audio_s=1.0, wall_s=1.0, settled=0))
    writer.handle(ProgressEvent(step=1, audio_s=1.0, wall_s=1.0, compute_s=0.0, settled=6, whole=False))
    assert writer.take() == "das"
    writer.handle(WriteEvent(text="us", retract=6, audio_s=2.0, wall_s=2.0, settled=6))
    writer.handle(EndEvent(text="das Haus", audio_s=2.0, wall_s=2.0, rtf=0.0))
    assert writer.take() == " Haus"


def test_characters_do_not_wait() -> None:
    vocabulary = ToyVocabulary(["猫", "坐"], spaced=False)
    script = [Scripted(ids=vocabulary.encode(["猫", "坐"]), stop="length")]
    session = Session(ScriptedTranslator(vocabulary=vocabulary, script=script), Greedy(), chunk_ms=400)
    writer = WordWriter()
    hand([*session.feed(np.zeros(6400, np.float32)), session.progress()], [writer])
    assert writer.take() == session.text != ""


@hypothesis.given(st.lists(st.tuples(st.text(alphabet="ab .", max_size=4), st.booleans())))
def test_nothing_is_lost_or_said_twice(says: list[tuple[str, bool]]) -> None:
    assert "".join(given(says)) == "".join(text for text, _ in says)


def test_units_of_a_session_have_the_time_of_their_write() -> None:
    lines = [["_das", "_Haus", "."], ["_Haus", "."], ["_Und"]]
    script = [Scripted(ids=VOCABULARY.encode(line)) for line in lines]
    session = Session(ScriptedTranslator(vocabulary=VOCABULARY, script=script), Greedy(), chunk_ms=400)
    units = AppendedUnits("word")
    drive(session, [np.zeros(6400, np.float32)] * 2, [units])
    assert units.text == " ".join(units.units) == session.text
    assert [time for time, _ in units.times] == sorted(time for time, _ in units.times)
    assert [audio for audio, _ in units.times] == [0.4, 0.8, 0.8, 0.8]
    assert units.times[-1] == (0.8, 0.8 + session.stats.compute_s)


def test_a_log_has_a_chunk_for_every_decision_and_one_for_the_end() -> None:
    session = Session(ToyTranslator(), load_policy("wait_k"), chunk_ms=320)
    log = EvaluationLog(AppendedUnits("word"))
    drive(session, np.split(toy_audio([3, 5, 7, 9]), [5120, 7000, 10240, 15360]), [log])
    instance = log.instance(0, "toy")
    assert [audio for audio, _ in instance.chunks] == [320, 640, 960, 1280, 1280]
    assert sum(compute for _, compute in instance.chunks) == pytest.approx(session.stats.compute_s * 1000, abs=0.01)
    assert instance.prediction == toy_text([3, 5, 7, 9]) and instance.source_length_ms == 1280


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
    hand(events, [units])
    assert units.text == "das Haus da"
    assert units.times == [(1, 1.1), (3, 3.3), (4, 4.4)]


def test_a_word_that_grows_may_keep_the_time_of_its_beginning() -> None:
    units = RevisedUnits("word", begun=True)
    hand([write("das Haus is", 1), write("t alt", 2), write("us", 3, retract=len("Haus ist alt") - 2)], [units])
    assert (units.text, [audio for audio, _ in units.times]) == ("das Haus", [1, 1])


def test_a_word_that_gets_shorter_has_changed_too() -> None:
    units = RevisedUnits("word")
    hand([write("ein Hauses", 1), write("", 2, retract=2)], [units])
    assert (units.text, units.times) == ("ein Haus", [(1, 1.1), (2, 2.2)])


def test_revised_characters() -> None:
    units = RevisedUnits("char")
    hand([write("猫坐在", 1), write("睡 了", 2, retract=2)], [units])
    assert (units.text, [audio for audio, _ in units.times]) == ("猫睡 了", [1, 2, 2])


@hypothesis.given(st.lists(st.tuples(st.integers(0, 6), st.text(alphabet="ab ", max_size=5)), max_size=8))
def test_there_is_a_time_for_every_unit_and_they_do_not_decrease(changes: list[tuple[int, str]]) -> None:
    units, shown = RevisedUnits("word"), ""
    for second, (retract, text) in enumerate(changes, 1):
        retract = min(retract, len(shown))
        shown = shown[: len(shown) - retract] + text
        hand([write(text, second, retract)], [units])
    assert units.text.split() == shown.split()
    assert len(units.times) == len(shown.split())
    assert units.times == sorted(units.times)
