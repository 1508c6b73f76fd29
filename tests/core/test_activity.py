"""Where a stream holds speech."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.core.activity import SpeechActivity
from simulst.core.source import FloatArray


def sound(seconds: float, level: float = 0.1, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * 16_000)).astype(np.float32)


def judged(audio: FloatArray) -> SpeechActivity:
    activity = SpeechActivity()
    activity.extend(audio)
    return activity


@pytest.mark.parametrize("noise", [0.0, 0.0001, 0.003])
def test_pauses_are_found_above_any_floor_of_noise(noise: float) -> None:
    pieces = [sound(1.0, noise), sound(2.0), sound(0.6, noise), sound(1.0), sound(0.2, noise), sound(1.0)]
    runs = list(judged(np.concatenate(pieces)).runs(1.0))
    assert runs == [pytest.approx((1.0, 3.0), abs=0.1), pytest.approx((3.6, 5.8), abs=0.1)]


def test_silence_holds_no_speech_and_steady_sound_is_all_speech() -> None:
    assert list(judged(np.zeros(160_000, dtype=np.float32)).runs(0, 10)) == []
    assert list(judged(sound(10.0, 0.01)).runs(0, 10)) == [pytest.approx((0.0, 10.0), abs=0.1)]


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 64_000), max_size=6))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    audio = np.concatenate([sound(1.0), sound(0.5, 0.0001), sound(1.0), sound(1.5, 0.0001)])
    activity = SpeechActivity()
    for piece in np.split(audio, sorted(cuts)):
        activity.extend(piece)
    assert list(activity.runs()) == list(judged(audio).runs())


def test_what_was_trimmed_is_forgotten() -> None:
    activity = judged(np.concatenate([sound(2.0), sound(1.0, 0.0001), sound(2.0)]))
    activity.trim(3.0)
    assert [begin for begin, _ in activity.runs()] == [pytest.approx(3.0, abs=0.1)]
    assert len(activity._flags) == 100
    assert activity.end_s == pytest.approx(5.0)
