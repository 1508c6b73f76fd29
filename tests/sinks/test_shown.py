"""The one fold of write and retract."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulst.core.events import EndEvent, HypothesisEvent, ProgressEvent, WriteEvent
from simulst.sinks.shown import Shown


def write(text: str, retract: int = 0, settled: int | None = None, at_s: float = 1.0) -> WriteEvent:
    return WriteEvent(text=text, retract=retract, audio_s=at_s, wall_s=at_s, settled=settled)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # a busy machine
@given(st.lists(st.tuples(st.text("ab ", max_size=3), st.integers(0, 9), st.integers(0, 6)), max_size=8))
def test_what_is_settled_comes_once_and_in_order(says: list[tuple[str, int, int]]) -> None:
    shown, text, settled, given_out = Shown(), "", 0, ""
    for added, back, more in says:
        back = min(back, len(text) - settled)
        text = text[: len(text) - back] + added
        assert shown.take(write(added, back, settled)) == len(text) - len(added)
        settled = min(len(text), settled + more)
        shown.take(ProgressEvent(step=1, audio_s=1.0, wall_s=1.0, compute_s=0.0, settled=settled))
        given_out += "".join(piece.text for piece in shown.settle())
        assert (shown.text, shown.settled, given_out) == (text, settled, text[:settled])
        assert given_out + shown.open == text
    shown.take(EndEvent(text=text, audio_s=1.0, wall_s=1.0, rtf=0.0))
    assert given_out + "".join(piece.text for piece in shown.settle()) == text


def test_pieces_keep_the_time_of_their_write() -> None:
    shown = Shown()
    shown.take(write("Der Hund bellt", settled=0, at_s=1.0))
    shown.take(HypothesisEvent(text=" laut", audio_s=1.0, wall_s=1.0))
    shown.take(write("schläft.", retract=5, settled=4, at_s=3.0))
    first = [(piece.text, piece.time_s) for piece in shown.settle()]
    shown.end()
    rest = [(piece.text, piece.time_s) for piece in shown.settle()]
    assert (first, rest) == ([("Der ", 1.0)], [("Hund ", 1.0), ("schläft.", 3.0)])


def test_more_than_there_is_cannot_be_taken_back() -> None:
    shown = Shown()
    assert shown.take(write("ab")) == 0 and shown.take(write("c", retract=9)) == 0
    assert shown.text == "c"
