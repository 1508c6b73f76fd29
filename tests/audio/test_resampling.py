"""Resampling does not depend on how the input was cut."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.audio import SAMPLE_RATE, Resampler
from simulst.audio.samples import FloatArray
from simulst.errors import AudioError


def run(rate: int, blocks: list[FloatArray]) -> FloatArray:
    resampler = Resampler(rate)
    return np.concatenate([*(resampler.feed(block) for block in blocks), resampler.finish()])


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 12_345]),
    samples=st.integers(1, 9_000),
    cuts=st.lists(st.integers(0, 9_000), max_size=40),
    seed=st.integers(0, 2**16),
)
def test_any_partition_gives_the_samples_of_the_whole(rate: int, samples: int, cuts: list[int], seed: int) -> None:
    audio = np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)
    pieces = np.split(audio, sorted(min(cut, samples) for cut in cuts))
    expected = soxr.resample(audio, rate, SAMPLE_RATE)
    np.testing.assert_array_equal(run(rate, pieces), expected)
    np.testing.assert_array_equal(run(rate, [audio]), expected)


def test_single_samples_give_the_samples_of_the_whole() -> None:
    audio = np.random.default_rng(1).uniform(-1, 1, 3_000).astype(np.float32)
    np.testing.assert_array_equal(run(44_100, list(audio.reshape(-1, 1))), soxr.resample(audio, 44_100, SAMPLE_RATE))


def test_a_tone_keeps_its_pitch_and_level() -> None:
    time_s = np.arange(48_000) / 48_000
    out = run(48_000, [np.sin(2 * np.pi * 1_000 * time_s).astype(np.float32)])
    spectrum = np.abs(np.fft.rfft(out[:SAMPLE_RATE] * np.hanning(SAMPLE_RATE)))
    assert int(spectrum.argmax()) == 1_000
    assert np.abs(out[4_000:12_000]).max() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("rate", [-1, 0, 7, 999, 768_001, 10**9])
def test_absurd_rates_are_refused(rate: int) -> None:
    with pytest.raises(AudioError, match=f"^The sample rate must lie in 1000 to 768000 Hz, but is {rate}.$"):
        Resampler(rate)
