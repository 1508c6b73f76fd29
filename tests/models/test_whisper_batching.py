"""Several streams of one Whisper in one forward say what each says alone."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.languages import Pair
from simulst.core.query import Evidence, Query
from simulst.core.session import Session
from simulst.core.translator import FloatArray, Translator
from simulst.errors import ModelError
from simulst.live.engine import Engine
from simulst.live.protocol import Hello
from simulst.live.together import Together
from simulst.models import load_model
from simulst.models.batchers import batcher_of
from simulst.models.packed import PackedDecoder, Part
from simulst.models.seq2seq.whisper import Whisper
from simulst.models.seq2seq.windows import EncodedWindow, Features, WhisperWindow
from simulst.policies import load_policy
from simulst.testing import ToyTranslator
from simulst.testing.checkpoints import tiny_whisper
from simulst.testing.noise import noise, speak

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("models") / "tiny-whisper", brevity=2.0)


def load(folder: Path, **options: str) -> Whisper:
    model = load_model(folder, **options)
    assert isinstance(model, Whisper)
    return model


RECORDINGS = [noise(seconds, seed) for seed, seconds in enumerate((3.1, 0.7, 5.0, 2.4))]


@pytest.mark.parametrize(
    ("policy", "options"),
    [("align_att", {}), ("wait_k-3", {"task": "transcribe"}), ("local_agreement", {"beams": "2"})],
)
def test_streams_of_different_length_say_what_they_say_alone(
    folder: Path, policy: str, options: dict[str, str]
) -> None:
    model = load(folder, source="de", **options)
    alone = [speak(model, policy, audio) for audio in RECORDINGS]
    batcher = batcher_of(model, streams=3)
    assert batcher.map(lambda translator, audio: speak(translator, policy, audio), RECORDINGS) == alone
    assert len(set(alone)) > 2 and batcher.stats.mean > 1.2


def test_rows_and_scores_are_those_of_a_stream_alone(folder: Path) -> None:
    model = load(folder)
    want = frozenset({Evidence.ALIGNMENT_HEADS, Evidence.LOGPROBS})
    prefix = (97, 98, 99)  # "abc"

    def ask(translator: Translator, audio: FloatArray) -> tuple[tuple[int, ...], FloatArray, FloatArray]:
        session = translator.open()
        session.extend_source(audio, is_final=True)
        (found,) = session.hypothesise(prefix, Query(max_new=6, want=want))
        assert found.alignment is not None and found.alignment.heads is not None and found.logprobs is not None
        return found.ids, np.array(found.logprobs), found.alignment.heads

    alone = [ask(model, audio) for audio in RECORDINGS[:3]]
    together = batcher_of(model, streams=3).map(ask, RECORDINGS[:3])
    for (ids, logprobs, rows), (other_ids, other_logprobs, other_rows) in zip(alone, together, strict=True):
        assert ids == other_ids and len(ids) > 0
        np.testing.assert_allclose(other_logprobs, logprobs, atol=1e-4)
        np.testing.assert_allclose(other_rows, rows, atol=1e-5)


def test_a_language_that_is_guessed_leaves_the_rows_as_they_are(folder: Path) -> None:
    """The guess runs the decoder over the same window, whose keys stay there once."""
    want = frozenset({Evidence.ALIGNMENT_HEADS})
    session = load(folder).open()
    session.extend_source(RECORDINGS[2], is_final=True)
    (found,) = session.hypothesise((), Query(max_new=3, want=want))
    assert found.alignment is not None and found.alignment.heads is not None
    assert found.alignment.heads.sum(axis=-1).max() > 0.9


def test_windows_share_one_call_and_steps_one_forward(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows, steps = list[int](), list[int]()
    encode, step = WhisperWindow.windows, PackedDecoder.__call__

    def counted_windows(self: WhisperWindow, several: Sequence[Features]) -> list[EncodedWindow]:
        windows.append(len(several))
        return encode(self, several)

    def counted_steps(
        self: PackedDecoder, forward: Callable[..., torch.Tensor], parts: Sequence[Part], ids: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        steps.append(len(parts))
        return step(self, forward, parts, ids)

    monkeypatch.setattr(WhisperWindow, "windows", counted_windows)
    monkeypatch.setattr(PackedDecoder, "__call__", counted_steps)

    def ask(translator: Translator, audio: FloatArray) -> int:
        session = translator.open()
        session.extend_source(audio, is_final=True)
        return len(session.hypothesise((), Query(max_new=4))[0].ids)

    batcher_of(load(folder, source="de"), streams=4).map(ask, [noise(3.0, seed) for seed in range(4)])
    assert windows == [4] and steps == [4, 4, 4, 4]


def test_an_error_of_one_window_reaches_all_that_shared_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> object:
        raise RuntimeError("no memory")

    monkeypatch.setattr(WhisperWindow, "windows", fail)
    batcher = batcher_of(load(folder), streams=2)
    with pytest.raises(RuntimeError, match="no memory"):
        batcher.map(lambda translator, audio: speak(translator, "wait_k-3", audio), RECORDINGS[2:])


def test_live_streams_of_several_languages_meet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulst.live.together.WAIT_S", 5.0)
    model = load(folder, source="de")
    together = Together({"whisper": model}, streams=2)
    served = together.models["whisper"]
    assert isinstance(served, Whisper)
    pairs = [Pair(source="de", target="en"), Pair(source="ja", target="ja")]
    alone = [speak(model.for_pair(pair), "wait_k-3", RECORDINGS[2]) for pair in pairs]
    hello, texts = Hello(sample_rate=16_000, format="f32le"), dict[int, str]()

    def hear(number: int) -> None:
        session = Session(served.for_pair(pairs[number]), load_policy("wait_k-3"))
        engine = Engine([session], hello, together)
        for at in range(0, len(RECORDINGS[2]), 16_000):
            engine.work(RECORDINGS[2][at : at + 16_000].tobytes(), False)
        engine.work(b"", True)
        texts[number] = session.text

    threads = [threading.Thread(target=hear, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts[0], texts[1]] == alone and texts[0] != texts[1]
    assert served.meeting is not None and served.meeting.stats.mean > 1


def test_models_that_cannot_are_one_sentence(folder: Path) -> None:
    with pytest.raises(
        ModelError,
        match=r"^Model toy cannot decode several streams together; speech LLMs, encoder-decoders",
    ):
        batcher_of(ToyTranslator(), streams=2)
    with pytest.raises(ModelError, match=r"^A batch has at least one stream, not 0\.$"):
        batcher_of(load(folder), streams=0)
