"""StreamUni: wait-k over the model's own transcript, and segments that end where it says so."""

import numpy as np
import pytest

from simulst.core.policy import AnyPolicy
from simulst.core.session import Session
from simulst.core.translator import DECODING
from simulst.errors import PolicyError
from simulst.policies import load_policy
from simulst.policies.streamuni import StreamUni, Transcript, steps_back
from simulst.testing import Scripted, ScriptedTranslator, ToyTranslator, ToyVocabulary
from simulst.testing.scripted import ScriptedSession

SOUND = np.full(6_400, 0.1, dtype=np.float32)
HEARD = "_he _went _home. _then _we _slept _long".split()
SAID = "_er _ging _heim _dann _schlief _wir _lang .".split()
VOCABULARY = ToyVocabulary([*HEARD, *SAID])


def transcripts(*texts: str) -> list[tuple[int, ...]]:
    return [VOCABULARY.encode([f"_{word}" for word in text.split()]) for text in texts]


def says(text: str) -> Scripted:
    return Scripted(ids=VOCABULARY.encode(text.split()))


def session_of(policy: AnyPolicy, heard: list[str], script: list[str]) -> tuple[Session, ScriptedSession]:
    model = ScriptedTranslator(
        vocabulary=VOCABULARY, transcripts=transcripts(*heard), script=[says(line) for line in script]
    )
    session = Session(model, policy, chunk_ms=400, history="segment_reset")
    return session, model.opened[-1]


def queue(*texts: str) -> list[Transcript]:
    return [Transcript(ids=(), text=text, heard_s=0.0) for text in texts]


@pytest.mark.parametrize(
    ("texts", "finished", "too_long", "expected"),
    [
        (("a", "a", "a"), "", False, 2),
        (("", "", ""), "", False, 2),
        (("he went", "he went home.", "He went home. Then"), "He went home.", False, 1),
        (("he went home.", "he went home. then", "he went home. then we"), "he went home.", False, 2),
        (("he", "he went", "he went home. then"), "he went home.", False, -1),
        (("she", "she went", "he went home. then"), "he went home.", False, None),
        (("a", "b", "c"), "", True, 0),
        (("a", "b", "c"), "", False, None),
        (("a", "a"), "", True, None),
    ],
)
def test_where_a_segment_ends(texts: tuple[str, ...], finished: str, too_long: bool, expected: int | None) -> None:
    assert steps_back(queue(*texts), finished, 3, too_long) == expected


def test_words_are_due_by_the_transcript() -> None:
    heard = ["he", "he went", "he went home. then", "he went home. then we"]
    session, opened = session_of(StreamUni(k=2, queue=9), heard, ["_er _ging", "_ging _heim _dann _schlief"])
    shown = []
    for _ in range(3):
        session.feed(SOUND)
        shown.append(session.text)
    assert shown == ["", "er", "er ging heim"]  # 1, 2 and 4 words, one less is due
    assert opened.chained == [(transcripts("he went")[0], None), (transcripts("he went home. then")[0], None)]


def test_a_write_has_at_most_so_many_words_and_the_next_makes_up_for_it() -> None:
    session, _ = session_of(
        StreamUni(k=1, most=2, queue=9),
        ["he went home. then we", "he went home. then we slept"],
        ["_er _ging _heim _dann", "_heim _dann _schlief"],
    )
    session.feed(SOUND)
    assert session.text == "er ging"
    session.feed(SOUND)
    assert session.text == "er ging heim dann"


def test_a_full_stop_at_the_end_of_a_write_waits() -> None:
    session, _ = session_of(StreamUni(k=1), ["he went"], ["_er _ging ."])
    session.feed(SOUND)
    assert session.text == "er ging"


def test_segment_ends_where_its_sentence_was_over_and_the_rest_stays() -> None:
    heard = ["he went", "he went home.", "he went home. then", "then we"]
    session, opened = session_of(StreamUni(k=2), heard, ["_er", "_ging _heim .", "_heim .", "_dann _schlief"])
    shown = []
    for _ in range(3):
        session.feed(SOUND)
        shown.append(session.text)
    assert shown == ["er", "er ging", "er ging heim."]
    assert opened.chained[-1] == (transcripts("he went home.")[0], 0.8)
    assert session.prefix == () and opened.start_s == pytest.approx(0.8)  # one step back, not now
    session.feed(SOUND)
    assert session.text == "er ging heim. dann"


def test_silence_moves_the_beginning_and_writes_nothing() -> None:
    session, opened = session_of(StreamUni(), [""], [])
    for _ in range(4):
        session.feed(np.zeros(6_400, dtype=np.float32))
    assert session.text == "" and opened.start_s == pytest.approx(0.4)


def test_source_that_did_not_change_is_no_agreement() -> None:
    model = ScriptedTranslator(vocabulary=VOCABULARY, transcripts=transcripts("he went"), block=16_000)
    session = Session(model, StreamUni(k=9), chunk_ms=200)
    for _ in range(9):
        session.feed(SOUND[:3_200])
    assert session.last_decision is not None and session.last_decision.reason == "no new source"
    assert model.opened[-1].start_s == 0


def test_segment_ends_where_audio_had_to_go() -> None:
    """What comes after a cut in front is no continuation of what came before it, so nothing would ever end it."""
    heard = ["he went home", "he went home then", "went home then we", "home then we slept"]
    session, opened = session_of(StreamUni(k=9), heard, ["_er _ging _heim"])
    for _ in range(2):
        session.feed(SOUND)
    session._trim(0, 0.2)
    session.feed(SOUND)
    assert session.text == "er ging heim" and opened.start_s == pytest.approx(1.2)


def test_finish_translates_the_rest_to_its_end() -> None:
    session, opened = session_of(StreamUni(), ["he went", "he went home."], ["_er _ging _heim ."])
    session.feed(SOUND)
    session.finish()
    assert session.text == "er ging heim."
    assert opened.chained == [(transcripts("he went home.")[0], 0.4)]


def test_model_without_the_task_is_refused() -> None:
    with pytest.raises(PolicyError, match="Policy streamuni needs chain, which model toy does not provide"):
        Session(ToyTranslator(provides=DECODING), load_policy("streamuni"))
    with pytest.raises(PolicyError, match="queue is 1; it must be between 2 and 20"):
        StreamUni(queue=1)
