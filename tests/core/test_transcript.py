"""The transcript of a stream whose audio is forgotten: no word lost, none twice, none halved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulst.core.session import Session
from simulst.core.transcript import LongTranscript
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio
from simulst.testing.toy import ToySession


@pytest.mark.parametrize(
    ("before", "after", "later", "whole"),
    [
        ("a warm greeting house", "house", "house on fire", "a warm greeting house on fire"),
        ("a warm greeting house", "ting house", "ting house on fire", "a warm greeting house on fire"),
        ("He drank a cup. He", "Thank a cup, he", "Thank a cup, he said.", "He drank a cup, he said."),
        (
            "He gave me an old book. It was",
            "book it was",
            "it was written in",
            "He gave me an old book. it was written in",
        ),
        ("one two three", "", "four", "one two three four"),
        ("one two three", "other words", "other words here", "one other words here"),
        ("one two three", "three", "", "one two three"),
        ("今日は天気がいい", "気がいい", "気がいいですね", "今日は天気がいいですね"),
        ("Das ist gut", "gut", "gut 好吧 gut", "Das ist gut好吧gut"),
    ],
)
def test_what_was_forgotten_and_what_is_kept_make_one_text(before: str, after: str, later: str, whole: str) -> None:
    transcript = LongTranscript()
    assert transcript.text(before) == before
    transcript.forget(before, after)
    assert transcript.text(later) == whole


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5))))
def test_an_exact_recogniser_is_kept_to_the_letter(ids: list[int], cuts: list[tuple[int, int]]) -> None:
    """Cuts at any sign of any word of words that are all different: the whole stays what it would be without cuts."""
    words = [f"word{number}{name}" for number, name in enumerate(ids)]
    transcript, heard, dropped = LongTranscript(), 0, 0
    for more, less in cuts:
        heard = min(len(words), heard + more)
        kept = " ".join(words[:heard])[dropped:].strip()
        whole_words = len(kept.split())
        drop = min(less, max(0, whole_words - 1))
        if drop:
            to = len(" ".join(words[:heard])) - len(" ".join(kept.split()[drop:])) - 2  # within the word before
            dropped = max(dropped, to)
            transcript.forget(kept, " ".join(words[:heard])[dropped:].strip())
        assert transcript.text(" ".join(words[:heard])[dropped:].strip()) == " ".join(words[:heard])


class Halving(ToyTranslator):
    """Of the last word that was forgotten, the end is still heard."""

    def open(self) -> ToySession:
        session = super().open()
        drop, recognised = session.drop_source, session.transcript
        half = ""

        def drop_source(to_s: float) -> None:
            nonlocal half
            before = recognised().split()
            drop(to_s)
            if gone := before[: len(before) - len(recognised().split())]:
                half = gone[-1][1:]

        session.drop_source = drop_source  # type: ignore[method-assign]
        session.transcript = lambda: f"{half} {recognised()}".strip()  # type: ignore[method-assign]
        return session


@pytest.mark.parametrize("policy", ["stream_att", "local_agreement"])
def test_a_session_shows_no_half_words(policy: str) -> None:
    words = [int(word) for word in np.random.default_rng(0).permutation(60) + 1] * 3
    session = Session(Halving(), load_policy(policy), keep_transcript=True)
    for start in range(0, len(words), 10):
        session.feed(toy_audio(words[start : start + 10]))
        shown = session.transcript().split()
        assert shown == [f"s{word}" for word in words[: len(shown)]]
    session.finish()
    assert session.transcript().split() == [f"s{word}" for word in words]
