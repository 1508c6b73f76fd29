import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.core.commit import Change, CommitLog
from simulst.testing import ToyVocabulary

PIECES = ["_a", "_b", "c", "d", ",", ".", "_", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "<0xC3>", "<0xA4>", "_Haus"]


def log_with(*pieces: str, spaced: bool = True) -> tuple[CommitLog, ToyVocabulary]:
    vocabulary = ToyVocabulary(pieces, spaced=spaced)
    return CommitLog(vocabulary), vocabulary


def test_first_text_has_no_leading_space_and_later_texts_keep_theirs() -> None:
    log, vocabulary = log_with("_das", "_Haus")
    assert log.apply(vocabulary.encode(["_das"])) == Change(text="das")
    assert log.apply(vocabulary.encode(["_Haus"])) == Change(text=" Haus")
    assert (log.text, log.words, log.chars) == ("das Haus", 2, 8)


def test_fresh_decoding_after_everything_was_forgotten_opens_a_word() -> None:
    log, vocabulary = log_with("das", "Haus", ".")
    log.apply(vocabulary.encode(["das"]))
    log.drop(1)
    log.apply(vocabulary.encode(["Haus"]))
    log.drop(1)
    log.apply(vocabulary.encode(["."]))
    assert (log.text, log.words) == ("das Haus.", 2)


def test_script_without_spaces_is_never_given_any_and_counts_characters() -> None:
    log, vocabulary = log_with("今日", "は", spaced=False)
    log.apply(vocabulary.encode(["今日"]))
    log.drop(1)
    log.apply(vocabulary.encode(["は"]))
    assert (log.text, log.words) == ("今日は", 3)


def test_incomplete_character_waits_for_its_last_byte() -> None:
    log, vocabulary = log_with("_a")
    assert log.apply(vocabulary.encode(["_a", "<0xF0>", "<0x9F>"])).text == "a"
    assert not log.apply(vocabulary.encode(["<0x98>"]))
    assert log.apply(vocabulary.encode(["<0x80>"])).text == "\U0001f600"
    assert log.text == "a\U0001f600"


def test_character_that_never_completes_does_not_leave() -> None:
    log, vocabulary = log_with("_a", "_b")
    log.apply(vocabulary.encode(["_a", "<0xF0>", "<0x9F>", "_b"]))
    assert log.text == "a b"


def test_bytes_survive_that_their_beginning_is_forgotten() -> None:
    log, vocabulary = log_with("_a", "_b")
    log.apply(vocabulary.encode(["_a", "<0xC3>"]))
    log.drop(1)
    assert log.apply(vocabulary.encode(["<0xA4>", "_b"])).text == "ä b"
    assert log.text == "aä b"


def test_lone_space_waits_for_what_follows() -> None:
    log, vocabulary = log_with("_a", "_", "b")
    assert log.apply(vocabulary.encode(["_a", "_"])).text == "a"
    assert log.apply(vocabulary.encode(["b"])).text == " b"


def test_retract_counts_characters_and_replaces_only_what_differs() -> None:
    log, vocabulary = log_with("_a", "_bet", "_bell", "_c")
    log.apply(vocabulary.encode(["_a", "_bet", "_c"]))
    change = log.apply(vocabulary.encode(["_bell"]), retract=2)
    assert change == Change(text="ll", retract=3, words_retracted=2)
    assert (log.text, log.words, log.prefix) == ("a bell", 2, vocabulary.encode(["_a", "_bell"]))


def test_same_text_again_is_no_change() -> None:
    log, vocabulary = log_with("_a", "_b")
    log.apply(vocabulary.encode(["_a", "_b"]))
    assert not log.apply(vocabulary.encode(["_b"]), retract=1)
    assert log.text == "a b"


def test_everything_may_be_taken_back() -> None:
    log, vocabulary = log_with("_a", "_b")
    log.apply(vocabulary.encode(["_a"]))
    assert log.apply((), retract=1) == Change(retract=1, words_retracted=1)
    assert log.apply(vocabulary.encode(["_b"])) == Change(text="b")
    assert log.text == "b"


def test_more_than_is_shown_cannot_be_taken_back() -> None:
    log, vocabulary = log_with("_a")
    log.apply(vocabulary.encode(["_a"]))
    with pytest.raises(ValueError, match="2 tokens to retract, 1 shown"):
        log.apply((), retract=2)


def test_anchors_become_source_times_and_are_refreshed_while_kept() -> None:
    log, vocabulary = log_with("_a", "_b")
    change = log.apply(vocabulary.encode(["_a", "_b"]), anchors=[0.4, 0.2], frame_s=0.1)
    assert (change.start_s, change.end_s) == (0.2, 0.5)
    log.realign([0.3, None])
    assert [token.anchor_s for token in log.kept] == [0.3, 0.2]


def test_preview_is_what_committing_would_append() -> None:
    log, vocabulary = log_with("_a", "_b", "_c")
    log.apply(vocabulary.encode(["_a"]))
    assert log.preview(vocabulary.encode(["_b", "_c", "<0xF0>"])) == " b c"
    assert log.text == "a"


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=8), max_size=30), st.integers(0, 4))
def test_writes_concatenate_to_the_text_that_the_ids_spell(commits: list[list[str]], keep: int) -> None:
    log, vocabulary = log_with(*PIECES)
    shown = ""
    ids: list[int] = []
    for pieces in commits:
        new = vocabulary.encode(pieces)
        change = log.apply(new)
        ids += new
        assert change.retract == 0
        assert "\ufffd" not in change.text
        assert not change.text or change.text.strip()
        shown += change.text
        log.drop(max(0, len(log.kept) - 1 - keep))
    assert shown == log.text
    spelled = vocabulary.decode(ids).replace("\ufffd", "").strip()
    assert shown.split() == spelled.split()
    assert (log.words, log.chars) == (len(shown.split()), len(shown))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.lists(st.sampled_from(PIECES), max_size=5)), max_size=20))
def test_retractions_and_appends_rebuild_the_text(edits: list[tuple[int, list[str]]]) -> None:
    log, vocabulary = log_with(*PIECES)
    shown = ""
    for retract, pieces in edits:
        change = log.apply(vocabulary.encode(pieces), retract=min(retract, len(log.kept)))
        shown = shown[: len(shown) - change.retract] + change.text
        assert shown == log.text
        assert log.chars == len(shown)


def test_cost_of_a_commit_does_not_depend_on_the_stream() -> None:
    log, vocabulary = log_with("_word", "ing", ".", "x")
    lengths: list[int] = []
    decode = vocabulary.decode
    vocabulary.decode = lambda ids: lengths.append(len(ids)) or decode(ids)  # type: ignore[method-assign, func-returns-value]
    ids = vocabulary.encode(["_word", "ing", "."])
    for _ in range(3_000):
        log.apply(ids)
        log.drop(max(0, len(log.kept) - 60))
    assert max(lengths) <= 60
    for _ in range(1_000):
        log.apply(vocabulary.encode(["x"]))
        log.drop(max(0, len(log.kept) - 60))
    assert max(lengths) <= 300
    assert log.text == " ".join(["wording."] * 3_000) + "x" * 1_000


@given(
    changes=st.lists(st.tuples(st.lists(st.sampled_from(PIECES), max_size=6), st.integers(0, 3), st.integers(0, 9))),
    start=st.integers(0, 40),
)
@settings(deadline=None, max_examples=60)
def test_the_end_of_the_text_is_that_of_the_whole(changes: list[tuple[list[str], int, int]], start: int) -> None:
    log, vocabulary = log_with(*dict.fromkeys(PIECES))
    for pieces, retract, dropped in changes * (1 + 200 // max(1, len(changes))):
        log.apply(vocabulary.encode(pieces), retract=min(retract, len(log.kept)))
        log.drop(min(dropped, len(log.kept)))
    text = log.text
    for at in (0, start, log.settled_chars, max(0, log.chars - start), log.chars, log.chars + start):
        assert log.text_from(at) == text[at:]


def test_text_that_is_settled_is_not_copied_again() -> None:
    log, vocabulary = log_with("_Haus")
    tokens = vocabulary.encode(["_Haus"])
    for _ in range(500):
        log.apply(tokens)
        log.drop(1)
    first = log._blocks[0]
    for _ in range(500):
        log.apply(tokens)
        log.drop(1)
    assert log._blocks[0] is first and len(log._blocks) < 20
    assert log.settled == " ".join(1_000 * ["Haus"])
