from simulst.core.turns import oldest_turns


def test_as_many_as_fit_stay() -> None:
    assert oldest_turns([80, 110, 260], 260, 150) == 110
    assert oldest_turns([80, 109, 260], 260, 150) == 260


def test_nothing_goes_while_there_is_room() -> None:
    assert oldest_turns([80, 140], 150, 150) is None


def test_the_newest_turn_is_never_cut() -> None:
    assert oldest_turns([80, 400], 400, 150) == 400
    assert oldest_turns([80, 400], 900, 150) == 400
    assert oldest_turns([], 900, 150) is None
