"""What is left out in long silence, what never is, and where things were in the stream."""

import numpy as np
import pytest

from simulst.audio import read_audio
from simulst.core.silence import LEAD_S, Silence
from simulst.core.source import SAMPLE_RATE, FloatArray

RNG = np.random.default_rng(5)


def noise(seconds: float, level_db: float) -> FloatArray:
    return (RNG.standard_normal(round(seconds * SAMPLE_RATE)) * 10 ** (level_db / 20)).astype(np.float32)


def speech(seconds: float, level_db: float = -20.0) -> FloatArray:
    """Syllables of a fifth of a second: loud, then soft by 25 dB."""
    samples = noise(seconds, level_db)
    soft = (np.arange(len(samples)) // 1_600) % 2 == 1
    samples[soft] *= np.float32(10 ** (-25 / 20))
    return samples


def heard(silence: Silence, samples: FloatArray, block: int = 1_600) -> FloatArray:
    pieces = [silence.feed(samples[start : start + block]) for start in range(0, len(samples), block)]
    return np.concatenate([*pieces, silence.finish()])


def joined(*pieces: FloatArray) -> FloatArray:
    return np.concatenate(pieces)


@pytest.mark.parametrize("block", [160, 1_600, 7_001, 1 << 20])
def test_a_long_pause_is_left_out_and_all_speech_is_heard(block: int) -> None:
    room = noise(60, -60)
    stream = joined(speech(5), room, speech(5))
    found = heard(Silence(3.0), stream, block)
    assert len(stream) - len(found) == pytest.approx((60 - 3 - LEAD_S) * SAMPLE_RATE, abs=0.3 * SAMPLE_RATE)
    kept = round(7 * SAMPLE_RATE)
    assert np.array_equal(found[:kept], stream[:kept])
    assert np.array_equal(found[-round(5.9 * SAMPLE_RATE) :], stream[-round(5.9 * SAMPLE_RATE) :])


@pytest.mark.parametrize(
    "stream",
    [
        joined(speech(5), noise(2.9, -60), speech(5)),
        joined(*(joined(speech(1), noise(2.5, -70)) for _ in range(10))),
        noise(40, -50),
        noise(40, -20),
        joined(speech(5, -15), speech(40, -38)),
        joined(speech(3), noise(60, -26)),
    ],
    ids=[
        "short pause",
        "many short pauses",
        "steady noise",
        "loud noise",
        "somebody far away",
        "noise as loud as speech",
    ],
)
def test_what_may_be_speech_is_heard(stream: FloatArray) -> None:
    assert np.array_equal(heard(Silence(3.0), stream), stream)


def test_digital_silence_is_left_out_from_the_beginning() -> None:
    stream = joined(np.zeros(60 * SAMPLE_RATE, np.float32), speech(3))
    found = heard(Silence(3.0), stream)
    assert len(found) / SAMPLE_RATE == pytest.approx(3 + LEAD_S + 3, abs=0.3)
    assert np.array_equal(found[-3 * SAMPLE_RATE :], stream[-3 * SAMPLE_RATE :])


@pytest.mark.slow
def test_a_new_noise_is_heard_until_it_is_the_room() -> None:
    silence = Silence(3.0)
    for start in range(0, 65):
        silence.feed(joined(speech(5), noise(60, -60))[start * SAMPLE_RATE : (start + 1) * SAMPLE_RATE])
    assert silence.pausing
    fan = [(len(silence.feed(noise(1, -45))), silence.pausing) for _ in range(30)]
    assert not fan[0][1] and fan[-1] == (0, True)


def test_places_are_those_of_the_stream() -> None:
    silence = Silence(3.0)
    stream = joined(speech(5), noise(30, -60), speech(5), noise(30, -60), speech(2))
    found = heard(silence, stream)
    assert silence.stream_s(2.0) == 2.0
    for at in (6.0, 9.5, 12.0, 14.9, len(found) / SAMPLE_RATE - 1):
        begin = round(silence.stream_s(at) * SAMPLE_RATE)
        here = round(at * SAMPLE_RATE)
        assert np.array_equal(found[here : here + 800], stream[begin : begin + 800])
    assert silence.seen_s * SAMPLE_RATE == len(stream)
    assert silence.skipped_s * SAMPLE_RATE + len(found) == len(stream)


def test_nothing_is_left_out_of_the_talk() -> None:
    talk = read_audio("examples/talk.flac")
    assert np.array_equal(heard(Silence(3.0), talk), talk)
    stream = joined(talk, noise(60, -60), talk)
    found = heard(
        Silence(3.0), stream
    )  # the talk's own pauses are digital silence: the room is known after ten seconds
    assert 2 * len(talk) + 4 * SAMPLE_RATE < len(found) < 2 * len(talk) + 15 * SAMPLE_RATE
