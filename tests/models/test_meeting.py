"""When requests of streams in threads are computed, and which of them together."""

import threading
from collections.abc import Sequence
from functools import partial

import pytest

from simulst.core.translator import Translator
from simulst.models.meeting import Asked, Meeting
from simulst.testing import ToyTranslator


class Lanes:
    """A meeting with two lanes that write down how many they compute at a time."""

    def __init__(self, *, streams: int) -> None:
        self.meeting = Meeting(streams=streams)
        self.meeting.translator = ToyTranslator()
        self.computed = list[tuple[str, int]]()
        self.together: threading.Barrier | None = None
        """What the next forward of each lane waits for."""
        self._lanes = {name: self.meeting.lane(partial(self._compute, name)) for name in "ab"}

    def _compute(self, name: str, asked: Sequence[Asked]) -> None:
        self.computed.append((name, len(asked)))
        if self.together is not None:
            self.together.wait(60)
        for one in asked:
            one.result = name

    def run(self, *jobs: str) -> list[str]:
        """Each stream asks in these lanes, one after the other."""

        def job(_: Translator, lanes: str) -> str:
            return "".join(str(self.meeting.ask(self._lanes[name], Asked())) for name in lanes)

        return self.meeting.map(job, jobs)


def test_the_fullest_lane_goes_first_and_few_wait_for_it() -> None:
    """The fourth stream is not computed alone beside three: all four meet in the second lane."""
    lanes = Lanes(streams=4)
    assert lanes.run("ab", "ab", "ab", "b") == ["ab", "ab", "ab", "b"]
    assert lanes.computed == [("a", 3), ("b", 4)]
    assert (lanes.meeting.stats.forwards, lanes.meeting.stats.requests) == (2, 7)


def test_half_of_the_streams_are_computed_beside_the_others() -> None:
    lanes = Lanes(streams=4)
    lanes.together = threading.Barrier(2)  # breaks if one of them waits for the other's end
    assert lanes.run("a", "a", "b", "b") == ["a", "a", "b", "b"]
    assert sorted(lanes.computed) == [("a", 2), ("b", 2)]


def test_streams_that_end_are_not_waited_for() -> None:
    lanes = Lanes(streams=3)
    assert lanes.run("aaa", "", "a") == ["aaa", "", "a"]
    assert lanes.computed == [("a", 2), ("a", 1), ("a", 1)]


def test_an_error_reaches_all_whose_requests_it_was() -> None:
    meeting, seen = Meeting(streams=3), list[str]()
    meeting.translator = ToyTranslator()

    def compute(asked: Sequence[Asked]) -> None:
        raise ValueError(f"{len(asked)} requests")

    lane = meeting.lane(compute)

    def job(_: Translator, number: int) -> None:
        with pytest.raises(ValueError, match="3 requests") as raised:
            meeting.ask(lane, Asked())
        seen.append(str(raised.value))

    meeting.map(job, range(3))
    assert seen == ["3 requests"] * 3
