"""A decoder whose output layer is not its token embeddings (Llama, Qwen2.5 7B) is scored by that layer, everywhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from simulst.core.session import Session
from simulst.core.translator import PLAIN, Evidence, FloatArray, Hypothesis, Query, ReadWrite, Translator
from simulst.errors import ModelError
from simulst.models import load_model
from simulst.models.speech_llm.batching import Batcher
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.policies import load_policy
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.training.batch import collate
from simulst.training.objective import forward
from simulst.training.sample import Sample
from simulst.training.state import trainable_state

WANT = frozenset({Evidence.LOGPROBS})
PREFIX = [20, 21]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "untied", tied=False)


@pytest.fixture(scope="module")
def model(folder: Path) -> SpeechLLMTranslator:
    model = load_model(folder, no_repeat_ngram=0)
    assert isinstance(model, SpeechLLMTranslator)
    llm = model.weights.model
    assert not torch.equal(llm.decoder.lm_head.weight, llm.embeddings)
    return model


def noise(seconds: float, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(16_000 * seconds))).astype(np.float32)


def library(model: SpeechLLMTranslator, embeds: Tensor, new: int) -> Tensor:
    """Log-probabilities [new, V] of the last `new` entries, as transformers' own forward has them."""
    with torch.no_grad():
        logits: Tensor = model.weights.model.decoder(inputs_embeds=embeds[None]).logits[0]
    allowed = logits.masked_fill(model.weights.suppress, -torch.inf)
    return allowed.log_softmax(-1)[len(embeds) - 1 - new : -1]


def agree(found: Hypothesis, expected: Tensor) -> None:
    assert len(found.ids) > 1 and found.logprobs is not None
    np.testing.assert_allclose(found.logprobs, expected.gather(1, torch.tensor(found.ids)[:, None])[:, 0], atol=1e-4)


@pytest.mark.parametrize("n_best", [1, 3])
def test_hypotheses_have_the_scores_of_the_library(model: SpeechLLMTranslator, n_best: int) -> None:
    session, weights = model.open(), model.weights
    session.extend_source(noise(3.0), is_final=True)
    for found in session.hypothesise(PREFIX, Query(max_new=6, n_best=n_best, want=WANT)):
        text = weights.embed([weights.target_mark, *PREFIX, *found.ids])
        embeds = torch.cat((weights.embed([weights.speech_mark]), session._hearing.vectors, text))
        expected = library(model, embeds, len(found.ids))
        agree(found, expected)
        assert n_best > 1 or expected.argmax(-1).tolist() == list(found.ids)


def test_text_is_translated_with_the_scores_of_the_library(model: SpeechLLMTranslator) -> None:
    weights, text = model.weights, "the cat sat on the mat"
    prompt = [weights.source_mark, *model.vocabulary.encode(text), weights.text_target_mark]
    found = model.open().text.search_text(text, (), PLAIN, max_new=5)[0]
    agree(found, library(model, weights.embed([*prompt, *found.ids]), len(found.ids)))
    assert model.open().text.translate_text([text], (), max_new=5)[0].ids == found.ids


def test_reading_and_writing_follow_the_output_layer(model: SpeechLLMTranslator) -> None:
    session, weights = model.open(), model.weights
    session.extend_source(noise(3.0))
    session.read_write((), ReadWrite(max_new=lambda words: 3))
    stream = session._interleaved
    assert stream is not None
    hidden = torch.randn(5, weights.model.embeddings.shape[1], generator=torch.Generator().manual_seed(0))
    scores = weights.model.decoder.lm_head(hidden)[:, [weights.read_mark, weights.write_mark]]
    np.testing.assert_allclose(stream._wants_to_write(hidden), scores.softmax(-1)[:, 1], atol=1e-5)


def test_streams_together_say_what_they_say_alone(folder: Path) -> None:
    model, audio = load_model(folder), [noise(2.0 + i, i) for i in range(3)]

    def speak(one: Translator, samples: FloatArray) -> str:
        session = Session(one, load_policy("wait_k-3"))
        session.feed(samples)
        session.finish()
        return session.text

    alone = [speak(model, samples) for samples in audio]
    assert Batcher(model, streams=3).map(speak, audio) == alone != ["", "", ""]


def test_training_scores_with_the_output_layer_and_stores_it(model: SpeechLLMTranslator) -> None:
    llm, ids = model.weights.model, torch.tensor([[7, 20, 21, 22, 30]])
    width = llm.config.stack * llm.config.encoder.model_dim
    batch = collate([Sample(ids[0].tolist(), [1.0] * 5)], None, width)
    with torch.no_grad():
        logits, _ = forward(llm, batch)
        expected = llm.decoder(input_ids=ids).logits[0, :-1]
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert "decoder.lm_head.weight" in trainable_state(llm)


def test_an_output_layer_that_is_not_stored_is_missing(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["decoder.lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"1 tensors missing \(decoder\.lm_head\.weight\)"):
        load_model(tmp_path)
