import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulst.core.commit import CommitLog, CommittedToken
from simulst.core.history import HistoryConfig, HistorySelector, Trim, cap_audio
from simulst.core.translator import Evidence
from simulst.errors import PolicyError
from simulst.testing import EVERYTHING, ToyVocabulary


def kept(*pieces: str, anchors: list[float | None] | None = None, spaced: bool = True) -> list[CommittedToken]:
    vocabulary = ToyVocabulary(pieces, spaced=spaced)
    log = CommitLog(vocabulary)
    log.apply(vocabulary.encode(pieces), anchors=anchors, heard_s=10.0)
    return list(log.kept)


def selector(**config: object) -> HistorySelector:
    return HistorySelector(HistoryConfig(**config).resolve(EVERYTHING))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pieces", "rest"),
    [
        (["_Hi", ".", "_Yes", "."], ["_Yes", "."]),
        (["_3", ".", "5", "_km"], ["_3", ".", "5", "_km"]),
        (["."], ["."]),
        (["_Yes", ".", "!"], ["_Yes", ".", "!"]),
        (["_Yes", "_no"], ["_Yes", "_no"]),
        (["_Yes", "...", "_no"], ["_no"]),
        (["_Yes", "?", "!", "_no", "_so"], ["_no", "_so"]),
        (["_Yes", ".", "“", "_no"], ["_no"]),
        ([], []),
    ],
)
def test_punctuation_keeps_the_last_sentence(pieces: list[str], rest: list[str]) -> None:
    trim = selector(method="punctuation").select(kept(*pieces), start_s=0.0)
    assert pieces[trim.tokens :] == rest


@pytest.mark.parametrize(
    "pieces",
    [
        "_am _3 . _Mai _war",
        "_im _20 . _Jahrhundert",
        "_Dr . _Mül ler _kam",
        "_Prof . _Dr . _Weiß",
        "_z . _B . _heute",
        "_z . _B . _Berlin",
        "_ca . _5 _km",
        "_J . _S . _Bach",
        "_bzw . _Haus",
        "_Mr . _Smith",
        "_um _12 : 30 _Uhr",
        "_der _1 . _und _2 . _Band",
    ],
)
def test_marks_of_abbreviations_and_ordinals_end_no_sentence(pieces: str) -> None:
    assert selector(method="punctuation").select(kept(*pieces.split()), start_s=0.0).tokens == 0


@pytest.mark.parametrize(
    ("pieces", "rest"),
    [
        ("_Er _war _20 . _Dann _kam _sie", "_Dann _kam _sie"),
        ("_im _Jahr _2003 . _Danach", "_Danach"),
        ("_Brot _usw . _Die _Leute", "_Die _Leute"),
        ("_Dr . _Weiß _kam . _Haus", "_Haus"),
        ("_Her b st . _Haus", "_Haus"),
    ],
)
def test_other_marks_do(pieces: str, rest: str) -> None:
    tokens = kept(*pieces.split())
    assert pieces.split()[selector(method="punctuation").select(tokens, start_s=0.0).tokens :] == rest.split()


@given(st.lists(st.sampled_from(["_am", "_3", "_Mai", "_Dr", "_Haus", "_geht", ".", "!", ",", "“"]), max_size=14))
def test_what_stays_begins_a_sentence_whose_word_before_is_no_abbreviation(pieces: list[str]) -> None:
    drop = selector(method="punctuation").select(kept(*pieces), start_s=0.0).tokens
    before = "".join(pieces[:drop]).rstrip("“")
    assert drop == 0 or (before.endswith((".", "!")) and not before.endswith(("_Dr.", "_3.")))


@pytest.mark.parametrize(("words", "stay"), [(39, 39), (40, 4), (90, 4)])
def test_of_text_without_a_mark_few_words_stay_once_it_is_too_long_for_a_sentence(words: int, stay: int) -> None:
    tokens = kept(*(f"_w{i}" for i in range(words)))
    assert words - selector(method="punctuation").select(tokens, start_s=0.0).tokens == stay


def test_a_sentence_end_among_many_words_still_decides() -> None:
    tokens = kept(*(["_word"] * 50), ".", *(["_other"] * 30))
    assert selector(method="punctuation").select(tokens, start_s=0.0).tokens == 51


def test_punctuation_in_a_script_without_spaces() -> None:
    tokens = kept("今日", "。", "は", "3", ".", "5", spaced=False)
    assert selector(method="punctuation").select(tokens, start_s=0.0).tokens == 2


@pytest.mark.parametrize(
    ("pieces", "rest"),
    [
        (["nation", "al", "_a"], ["nation", "al", "_a"]),
        (["_x", "_y", "z", "_w"], ["_y", "z", "_w"]),
        ([], []),
    ],
)
def test_fixed_words_counts_word_starts(pieces: list[str], rest: list[str]) -> None:
    trim = selector(method="fixed_words", words=2).select(kept(*pieces), start_s=0.0)
    assert pieces[trim.tokens :] == rest


def test_fixed_tokens_never_cuts_a_word() -> None:
    pieces = ["_a", "_b", "c", "_d"]
    assert selector(method="fixed_tokens", tokens=2).select(kept(*pieces), start_s=0.0).tokens == 3
    assert selector(method="fixed_tokens", tokens=3).select(kept(*pieces), start_s=0.0).tokens == 1


def test_audio_is_cut_at_the_earliest_frame_of_kept_text_only() -> None:
    tokens = kept("_w", "_x", "_y", "_z", anchors=[0.16, 9 * 0.16, 6 * 0.16, 12 * 0.16])
    trim = selector(method="fixed_words", words=3).select(tokens, start_s=0.0)
    assert trim.tokens == 1
    assert trim.to_s == pytest.approx(0.96)


def test_audio_is_never_cut_later_than_half_a_second_before_the_last_token() -> None:
    trim = selector(method="fixed_words", words=1).select(kept("_w", "_x", anchors=[1.0, 5.0]), start_s=0.0)
    assert trim == Trim(tokens=1, to_s=4.5)


def test_nothing_dropped_leaves_the_audio_alone() -> None:
    assert selector(method="fixed_words").select(kept("_w", anchors=[4.0]), start_s=0.0) == Trim()


def test_fixed_audio_takes_280_ms_per_dropped_word() -> None:
    tokens = kept("_u", "_v", "_w", "x", "_y")
    trim = selector(method="fixed_words", words=1, audio="fixed").select(tokens, start_s=2.0)
    assert trim.tokens == 4
    assert trim.to_s == pytest.approx(2.84)


def test_without_alignment_audio_goes_in_proportion() -> None:
    tokens = kept("_u", "_v", "_w", "_x")
    trim = selector(method="fixed_words", words=2, audio="proportional").select(tokens, start_s=2.0)
    assert trim == Trim(tokens=2, to_s=6.0)


def test_text_cap_drops_whole_words_and_keeps_anchors_with_their_tokens() -> None:
    tokens = kept("_u", "v", "_w", "_x", anchors=[1.0, 2.0, 3.0, 4.0])
    trim = selector(method="punctuation", max_tokens=3).select(tokens, start_s=0.0)
    assert trim == Trim(tokens=2, to_s=3.0)


def test_segment_reset_waits_for_the_end_of_a_segment() -> None:
    tokens = kept("_u", "_v", anchors=[1.0, 2.0])
    assert selector(method="segment_reset").select(tokens, start_s=0.0) == Trim()
    assert selector(method="segment_reset").select(tokens, start_s=0.0, segment_end=True) == Trim(tokens=2, to_s=10.0)


def test_cap_drops_the_words_of_the_audio_that_goes() -> None:
    tokens = kept("_u", "v", "_w", "_x", anchors=[1.0, 2.0, 3.0, 9.0])
    assert cap_audio(tokens, start_s=0.0, need_s=1.5) == Trim(tokens=2, to_s=1.5)


def test_cap_without_alignment_drops_words_in_proportion() -> None:
    tokens = kept("_u", "_v", "_w", "_x", "_y")
    assert cap_audio(tokens, start_s=0.0, need_s=4.0) == Trim(tokens=2, to_s=4.0)


def test_cap_refuses_to_lose_audio_that_nothing_covers() -> None:
    assert cap_audio([], start_s=0.0, need_s=1.0) is None
    assert cap_audio(kept("_u", anchors=[1.2]), start_s=0.0, need_s=1.0) is None


def test_auto_follows_what_the_model_provides() -> None:
    with_rows = HistoryConfig().resolve(frozenset({Evidence.ALIGNMENT}))
    without = HistoryConfig().resolve(frozenset())
    assert (with_rows.method, with_rows.audio) == ("punctuation", "attention")
    assert (without.method, without.audio) == ("fixed_words", "proportional")
    assert HistorySelector(with_rows).wants == {Evidence.ALIGNMENT}
    assert HistorySelector(without).wants == set()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"method": "some"}, "history.method is 'some'; it must be auto, keep_all, fixed_words"),
        ({"audio": "some"}, "history.audio is 'some'; it must be auto, attention, proportional or fixed"),
        ({"words": 0}, "history.words is 0; it must be at least 1"),
        ({"max_audio_s": -1.0}, "history.max_audio_s is -1.0; it must be above 0"),
    ],
)
def test_bad_settings_are_refused(config: dict[str, object], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence.replace(".", r"\.")):
        HistoryConfig(**config)  # type: ignore[arg-type]


def test_attention_is_refused_for_a_model_without_alignment() -> None:
    with pytest.raises(PolicyError, match=r"history\.audio = attention needs alignment"):
        HistoryConfig(audio="attention").resolve(frozenset())
