"""What comes after a segment that was heard to its end is a recording of its own, on the axis of the stream."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulst import Session, load_model, load_policy
from simulst.core.source import FloatArray
from simulst.core.translator import Evidence, Query
from simulst.policies import POLICIES
from simulst.testing.audio_checkpoints import tiny_qwen2_audio
from simulst.testing.checkpoints import tiny_moonshine, tiny_moonshine_streaming, tiny_whisper
from simulst.testing.speech_llm import make_tiny_speech_llm

EACH = frozenset({Evidence.ALIGNMENT})
WINDOWS = ["whisper", "moonshine", "moonshine_streaming", "qwen2_audio", "blocks"]
SPEECH_LLMS = ["batch", "grouped"]
SEGMENT = 53_760
"""Whole frames of all of them, and whole blocks of the one that hears in blocks: 3.36 s."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    def folder(kind: str) -> Path:
        return tmp_path_factory.mktemp(kind)

    speech_llm = make_tiny_speech_llm(folder("speech") / "model", brevity=2.0)
    return {
        "whisper": load_model(tiny_whisper(folder("whisper"), brevity=5.0), source="de", no_speech=1),
        "moonshine": load_model(tiny_moonshine(folder("moonshine"))),
        "moonshine_streaming": load_model(tiny_moonshine_streaming(folder("streaming"))),
        "qwen2_audio": load_model(tiny_qwen2_audio(folder("qwen"))),
        "blocks": load_model(tiny_moonshine(folder("wide"), width=288), encoder="tiny-en-de"),
        "batch": load_model(speech_llm),
        "grouped": load_model(speech_llm, positions="grouped"),
    }


def ids(session: Any) -> tuple[int, ...]:
    said: tuple[int, ...] = session.hypothesise((), Query(max_new=12, want=EACH))[0].ids
    return said


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*WINDOWS, *SPEECH_LLMS])
def test_the_next_segment_is_a_recording_of_its_own(loaded: dict[str, Any], noise: FloatArray, kind: str) -> None:
    model = loaded[kind]
    before, after = noise[:SEGMENT], noise[-48_000:]
    alone = model.open()
    alone.extend_source(after, is_final=True)
    session = model.open()
    for piece in (before, before):
        session.extend_source(piece, is_final=True)
        said = ids(session)
        session.drop_target(len(said))
        session.segments.restart()
    stood_s = session.heard_s
    session.extend_source(after[:20_000])
    session.hypothesise(())
    session.extend_source(after[20_000:], is_final=True)
    assert stood_s == pytest.approx(2 * SEGMENT / 16_000, abs=model.frame_s)
    assert session.heard_s == pytest.approx(stood_s + alone.heard_s, abs=model.frame_s)
    if kind != "moonshine_streaming":  # whose frames see a little of what went before
        assert ids(session) == ids(alone)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPEECH_LLMS)
def test_a_segment_begins_inside_a_vector(loaded: dict[str, Any], noise: FloatArray, kind: str) -> None:
    model, rest = loaded[kind], 700
    session, alone = model.open(), model.open()
    session.extend_source(noise[: SEGMENT + rest], is_final=True)
    words = session.source_words()
    session.segments.restart()
    assert session.start_s == pytest.approx(SEGMENT / 16_000)
    session.extend_source(noise[:30_000], is_final=True)
    alone.extend_source(np.concatenate([np.zeros(rest, np.float32), noise[:30_000]]), is_final=True)
    assert ids(session) == ids(alone)
    assert session.source_words() - words == alone.source_words()
    assert session.heard_s == pytest.approx((SEGMENT + rest + 30_000) / 16_000)


@pytest.mark.slow
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_goes_on_after_segments(loaded: dict[str, Any], noise: FloatArray, policy: str) -> None:
    """Bursts of noise with pauses between them; words stand in the order of their times."""
    loudness = np.repeat([1.0, 1.0, 1.0, 0.001], 8_000)
    talk = (noise[: len(noise) // 32_000 * 32_000] * np.tile(loudness, len(noise) // 32_000)).astype(np.float32)
    model = loaded["grouped" if policy == "gpe_wait_k" else "batch"]
    try:
        settings = load_policy(policy, **{"history.segment_s": 1.0, "history.pause_s": 0.3})
        session = Session(model, settings, keep_transcript=True)
    except Exception as error:
        pytest.skip(str(error))
    events = [*session.feed(talk), *session.finish()]
    times = [event.audio_s for event in events]
    assert times == sorted(times) and times[-1] == pytest.approx(len(talk) / 16_000)
