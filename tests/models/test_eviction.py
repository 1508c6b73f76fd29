import pytest

from simulst.models.speech_llm.eviction import evict_turns, oldest_turns, sink_window


def test_a15_whole_oldest_turns_go() -> None:
    keep, checkpoints = evict_turns([80, 140, 200, 260], 260, maximum=150, system=30)
    assert keep == [(0, 30), (140, 260)]
    assert checkpoints == [90, 150]


def test_turns_of_fifty_and_sixty_entries() -> None:
    """System 30, turns of 50, 60, 50, 60, 50: 300 entries, at most 200 after the cut."""
    keep, checkpoints = evict_turns([80, 140, 190, 250, 300], 300, maximum=200, system=30)
    assert keep == [(0, 30), (140, 300)]
    assert checkpoints == [80, 140, 190]


def test_as_many_as_fit_stay() -> None:
    assert oldest_turns([80, 110, 260], 260, 150) == 110
    assert oldest_turns([80, 109, 260], 260, 150) == 260


def test_nothing_goes_while_there_is_room() -> None:
    assert evict_turns([80, 140], 150, maximum=150, system=30) == ([(0, 150)], [80, 140])


def test_the_newest_turn_is_never_cut() -> None:
    assert oldest_turns([80, 400], 400, 150) == 400
    assert oldest_turns([80, 400], 900, 150) == 400
    assert oldest_turns([], 900, 150) is None


def test_a17_sinks_and_recent_entries() -> None:
    keep = sink_window(12, sinks=4, recent=8, incoming=3)
    assert keep == [(0, 4), (7, 12)]
    assert sum(end - start for start, end in keep) + 3 == 12


@pytest.mark.parametrize("incoming", [0, 1, 8, 20])
def test_sinks_and_recent_entries_never_exceed_their_room(incoming: int) -> None:
    keep = sink_window(12, sinks=4, recent=8, incoming=incoming)
    assert sum(max(0, end - start) for start, end in keep) + min(incoming, 8) <= 12
