"""Attention of a speech LLM over the words of a text: AlignAtt and StreamAtt on cascades with tiny-en-de behind."""

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from simulst import Session, load_model, load_policy
from simulst.core.events import Event, WriteEvent
from simulst.core.languages import Pair, pairs_of
from simulst.core.translator import Evidence, FloatArray, Hypothesis, Query
from simulst.models.cascade import Cascade, CascadeSession
from simulst.models.halves import Options
from simulst.models.speech_llm.text import SpeechLLMText, columns_of
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.testing import ToyTranslator

pytestmark = pytest.mark.slow

TEXT = "My grandfather gave me a little book."
ROWS = frozenset({Evidence.ALIGNMENT})
HEADS = frozenset({Evidence.ALIGNMENT_HEADS})


@pytest.fixture(scope="module")
def model() -> SpeechLLMTranslator:
    loaded = load_model("tiny-en-de")
    assert isinstance(loaded, SpeechLLMTranslator)
    return loaded


def text_of(model: SpeechLLMTranslator) -> SpeechLLMText:
    text = model.open().text
    assert isinstance(text, SpeechLLMText)
    return text


def translated(model: SpeechLLMTranslator, prefix: tuple[int, ...], want: frozenset[Evidence]) -> Hypothesis:
    return text_of(model).search_text(TEXT, prefix, Query(want=want), max_new=20)[0]


def by_the_library(model: SpeechLLMTranslator, ids: Sequence[int], count: int) -> FloatArray:
    """Rows [tokens, heads, source tokens] that `output_attentions` gives for the prompt with all its translation."""
    weights = model.weights
    decoder = copy.deepcopy(weights.model.decoder.model)
    decoder.config._attn_implementation = "eager"
    given = [weights.source_mark, *weights.vocabulary.encode(TEXT), weights.text_target_mark, *ids]
    with torch.inference_mode():
        found = decoder(inputs_embeds=weights.embed(given)[None], output_attentions=True).attentions
    heads = torch.stack([found[layer][0, head] for layer, head in sorted(weights.attention.heads)])
    rows: FloatArray = heads[:, count + 1 :, 1 : 1 + count].transpose(0, 1).numpy()
    return rows


@pytest.mark.parametrize("prefix", [0, 3])
def test_rows_are_those_of_the_library(model: SpeechLLMTranslator, prefix: int) -> None:
    whole = translated(model, (), ROWS).ids
    found = translated(model, whole[:prefix], HEADS)
    assert (*whole[:prefix], *found.ids) == whole and found.alignment is not None and found.alignment.heads is not None
    tokens = model.weights.vocabulary.encode(TEXT)
    expected = by_the_library(model, whole, len(tokens))
    columns = columns_of(model.weights, TEXT, tokens).numpy()
    assert columns.shape == (len(tokens), 7) and (columns.sum(axis=1) == 1).all() and columns.sum(axis=0).min() >= 1
    np.testing.assert_allclose(found.alignment.heads.swapaxes(0, 1), expected[: len(whole)] @ columns, atol=1e-5)
    mean = translated(model, whole[:prefix], ROWS).alignment
    assert mean is not None and (mean.history, mean.n_valid) == (prefix, 7)
    np.testing.assert_allclose(mean.weights, found.alignment.heads.mean(axis=0), atol=1e-5)


def test_rows_of_beams_are_those_of_their_words(model: SpeechLLMTranslator) -> None:
    best = text_of(model).search_text(TEXT, (), Query(want=HEADS, n_best=3), max_new=20)[0]
    tokens = model.weights.vocabulary.encode(TEXT)
    expected = by_the_library(model, best.ids, len(tokens))
    columns = columns_of(model.weights, TEXT, tokens).numpy()
    assert best.alignment is not None and best.alignment.heads is not None
    np.testing.assert_allclose(best.alignment.heads.swapaxes(0, 1), expected[: len(best.ids)] @ columns, atol=1e-4)


def test_words_look_at_their_sources(model: SpeechLLMTranslator) -> None:
    found = translated(model, (), ROWS)
    assert found.alignment is not None
    text = model.weights.vocabulary.decode(found.ids)
    looked = found.alignment.weights.argmax(-1)
    owners = np.cumsum([model.weights.vocabulary.starts_word(token) for token in found.ids]) - 1
    at = {
        word.strip(".,"): {int(looked[i]) for i in np.flatnonzero(owners == n)} for n, word in enumerate(text.split())
    }
    assert 1 in at["Großvater"] and 6 in at["Buch"], text


def test_what_nobody_asked_for_is_not_computed(model: SpeechLLMTranslator) -> None:
    assert translated(model, (), frozenset()).alignment is None


def test_a_text_that_grows_is_what_it_is_at_once(model: SpeechLLMTranslator) -> None:
    """Only new words are computed; a word that changes, a shorter text and another one are read anew from there on."""
    text, words = text_of(model), TEXT.split()
    grown = [" ".join(words[:4]), " ".join(words[:6]), TEXT, TEXT.replace("little", "red"), "My dog.", TEXT]
    prefix = translated(model, (), ROWS).ids[:2]
    for one in grown:
        for begun in ((), prefix):
            found = text.search_text(one, begun, Query(want=HEADS), max_new=20)[0]
            fresh = text_of(model).search_text(one, begun, Query(want=HEADS), max_new=20)[0]
            assert found.ids == fresh.ids and found.logprobs == pytest.approx(fresh.logprobs, abs=1e-4)
            assert found.alignment is not None and found.alignment.heads is not None
            assert fresh.alignment is not None and fresh.alignment.heads is not None
            np.testing.assert_allclose(found.alignment.heads, fresh.alignment.heads, atol=1e-5)


def test_two_texts_never_touch(model: SpeechLLMTranslator) -> None:
    one, two = text_of(model), text_of(model)
    for at in (3, 5, 7):
        said = [
            text.search_text(" ".join(words[:at]), (), Query(), max_new=20)[0].ids
            for text, words in ((one, TEXT.split()), (two, "Tom never told us why he was so late.".split()))
        ]
    assert said[0] == translated(model, (), frozenset()).ids != said[1]


class Reciter:
    """A recogniser that commits a word of the text each second."""

    def __init__(self) -> None:
        self._words, self._heard_s = TEXT.split(), 0.0

    def feed(self, samples: FloatArray, /) -> Sequence[Event]:
        self._heard_s += len(samples) / 16_000
        if not self._words:
            return ()
        return [WriteEvent(text=f" {self._words.pop(0)}", audio_s=self._heard_s, wall_s=0.0, end_s=self._heard_s)]

    def finish(self) -> Sequence[Event]:
        return ()

    def reset(self) -> None:
        pass


class Recited(Cascade):
    def open(self) -> CascadeSession:
        return self.opened(Reciter())


def test_a_cascade_holds_back_what_looks_at_its_last_words(model: SpeechLLMTranslator) -> None:
    """Nothing is said of a word that the border still covers; in the end all is, and the rest was held, not lost."""
    cascade = Recited(ToyTranslator(), model, name="recited", options=Options())
    session = Session(cascade, load_policy("stream_att", border_ms="1500"), chunk_ms=1000)
    said = []
    for _ in TEXT.split():
        session.feed(np.zeros(16_000, dtype=np.float32))
        said.append(session.text)
    assert said[0] == "" and "Großvater" in said[4] and "Buch" not in said[-1], said
    session.finish()
    assert "Großvater" in session.text and session.text.rstrip(".").endswith("Buch"), session.text


def test_a_cascade_tells_what_its_text_half_translates(model: SpeechLLMTranslator) -> None:
    """So that a stream that asks for German gets the first model that has it; transcripts are for others to give."""
    cascade = Recited(ToyTranslator(), model, name="recited", options=Options())
    assert cascade.pairs == (Pair(source="en", target="de"),) and cascade.for_pair(cascade.pairs[0]).pairs
    assert pairs_of(model)[1:] == (Pair(source="en", target="en"),)
