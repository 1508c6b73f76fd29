"""Several streams of any encoder-decoder or cascade in one forward say what each says alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from simulst.core.query import Evidence, Query
from simulst.core.translator import FloatArray, Translator, TranslatorSession
from simulst.errors import ModelError
from simulst.models import load_model
from simulst.models.batchers import batcher_of
from simulst.models.cascade import Cascade
from simulst.models.seq2seq.weights import Seq2SeqWeights
from simulst.models.text.encoder_decoder import EncoderDecoder
from simulst.models.text.translator import TextTranslatorSession
from simulst.testing.checkpoints import (
    tiny_canary,
    tiny_moonshine,
    tiny_moonshine_streaming,
    tiny_seamless,
    tiny_speech2text,
    tiny_whisper,
)
from simulst.testing.noise import noise, speak
from simulst.testing.text_checkpoints import tiny_causal, tiny_marian, tiny_nllb, tiny_t5

pytestmark = pytest.mark.slow

T = TypeVar("T")

SPEECH: dict[str, tuple[Callable[[Path], Path], dict[str, str]]] = {
    "whisper": (tiny_whisper, {"source": "de"}),
    "moonshine": (tiny_moonshine, {}),
    "moonshine_streaming": (tiny_moonshine_streaming, {}),
    "canary": (tiny_canary, {"target": "de"}),
    "speech2text": (tiny_speech2text, {}),
    "seamless": (tiny_seamless, {"target": "de"}),
    "seamless2": (partial(tiny_seamless, second=True), {"target": "de"}),
}
TEXT: dict[str, tuple[Callable[[Path], Path], dict[str, str]]] = {
    "marian": (tiny_marian, {}),
    "nllb": (tiny_nllb, {}),
    "t5": (tiny_t5, {}),
}
RECORDINGS = [noise(seconds, seed) for seed, seconds in enumerate((2.1, 0.7, 3.0, 1.4))]
SHORT = [noise(seconds, seed) for seed, seconds in enumerate((1.4, 0.7, 1.0))]
TEXTS = ["a few words", "and a longer sentence of nine words in all", "one", "the last of them is here"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def made(models: Path, name: str) -> Translator:
    make, options = (SPEECH | TEXT)[name]
    folder = models / name
    return load_model(folder if folder.exists() else make(folder), **options)


Told = tuple[tuple[int, ...], FloatArray, FloatArray]
"""Ids, log-probabilities and rows."""


def heard(model: Translator, audio: FloatArray) -> Told:
    session = model.open()
    session.extend_source(audio, is_final=True)
    return told(session)


def read(model: Translator, text: str) -> Told:
    session = model.open()
    assert isinstance(session, TextTranslatorSession)
    session.extend_text(text.split(), is_final=True)
    return told(session)


def told(session: TranslatorSession) -> Told:
    """Twice over the same source: after a prefix, and from the beginning."""
    ids, logprobs, rows = list[int](), list[float](), list[FloatArray]()
    for prefix in ((12, 13, 14), ()):
        want = frozenset({Evidence.ALIGNMENT, Evidence.LOGPROBS})
        (found,) = session.hypothesise(prefix, Query(max_new=6, want=want))
        assert found.alignment is not None and found.logprobs is not None
        ids += found.ids
        logprobs += found.logprobs
        rows.append(found.alignment.weights.ravel())
    return tuple(ids), np.array(logprobs, dtype=np.float32), np.concatenate(rows)


@pytest.mark.parametrize("name", SPEECH)
def test_ids_scores_and_rows_are_those_of_a_stream_alone(models: Path, name: str) -> None:
    same(made(models, name), heard, RECORDINGS[:1] + RECORDINGS[2:])


@pytest.mark.parametrize("name", TEXT)
def test_ids_scores_and_rows_are_those_of_a_text_alone(models: Path, name: str) -> None:
    same(made(models, name), read, TEXTS)


def same(model: Translator, ask: Callable[[Translator, T], Told], items: list[T]) -> None:
    alone = [ask(model, item) for item in items]
    batcher = batcher_of(model, streams=len(items))
    together = batcher.map(ask, items)
    for (ids, logprobs, rows), (other_ids, other_logprobs, other_rows) in zip(alone, together, strict=True):
        assert ids == other_ids and len(ids) > 5
        np.testing.assert_allclose(other_logprobs, logprobs, atol=1e-4)
        np.testing.assert_allclose(other_rows, rows, atol=1e-4)
    assert len({logprobs.tobytes() for _, logprobs, _ in alone}) == len(items)
    assert batcher.stats.mean > len(items) - 0.5


@pytest.mark.parametrize(
    ("name", "policy"),
    [("moonshine", "align_att"), ("canary", "wait_k-3"), ("speech2text", "hold_n-4"), ("seamless", "stream_att-f4")],
)
def test_streams_of_different_length_say_what_they_say_alone(models: Path, name: str, policy: str) -> None:
    model = made(models, name)
    alone = [speak(model, policy, audio) for audio in RECORDINGS]
    batcher = batcher_of(model, streams=3)
    assert batcher.map(lambda one, audio: speak(one, policy, audio), RECORDINGS) == alone
    assert any(alone) and batcher.stats.mean > 1.2


def test_both_halves_of_a_cascade_meet(models: Path) -> None:
    made(models, "moonshine")
    made(models, "marian")
    model = load_model(f"{models}/moonshine+{models}/marian")
    assert isinstance(model, Cascade)
    alone = [speak(model, "wait_k-3", audio) for audio in SHORT]
    batcher = batcher_of(model, streams=3)
    served = batcher.translator
    assert isinstance(served, Cascade)
    assert batcher.map(lambda one, audio: speak(one, "wait_k-3", audio), SHORT) == alone
    assert any(alone) and batcher.stats.mean > 1.2
    assert isinstance(served.recogniser, Seq2SeqWeights) and served.recogniser.meeting is batcher
    assert isinstance(served.text, EncoderDecoder) and served.text.meeting is batcher
    assert batcher.computes(served.for_pair(served.pairs[0]) if served.pairs else served)


def test_a_cascade_meets_where_its_recogniser_does(models: Path) -> None:
    """Its text half is a causal model, which decodes one stream at a time."""
    made(models, "moonshine")
    tiny_causal(models / "causal")
    model = load_model(f"{models}/moonshine+{models}/causal")
    alone = [speak(model, "wait_k-3", audio) for audio in SHORT]
    batcher = batcher_of(model, streams=3)
    assert batcher.map(lambda one, audio: speak(one, "wait_k-3", audio), SHORT) == alone


def test_a_text_model_that_decodes_one_stream_at_a_time_is_one_sentence(models: Path) -> None:
    model = load_model(tiny_causal(models / "alone"))
    with pytest.raises(
        ModelError, match=r"^Model alone cannot decode several streams together; speech LLMs, encoder-d"
    ):
        batcher_of(model, streams=2)
