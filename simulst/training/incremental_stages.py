"""The stages of a recipe that teach a trained decoder to read and write; they do nothing without `[incremental]`."""

from pathlib import Path
from typing import Any

import torch

from simulst.training.decoder import DecoderTrainingConfig, train_decoder
from simulst.training.features import read_talks
from simulst.training.incremental import (
    NEEDS_FILE,
    WORDS_FILE,
    Annotations,
    IncrementalSampler,
    WordClock,
    annotate_needs,
    annotate_words,
)
from simulst.training.recipe import Recipe
from simulst.training.samples import Corpus, Marks, Sampler, open_vectors
from simulst.translators.speech_llm import VOCABULARY_FILE


def _shares(config: DecoderTrainingConfig | None) -> dict[str, float]:
    if config is None:
        return {}
    samples = config.samples
    return {"read_write": samples.read_write_share, "turns": samples.turn_share, "grouped": samples.grouped_share}


def tasks(recipe: Recipe) -> tuple[str, ...]:
    """What the exported model was trained on besides plain translation."""
    found = [_shares(recipe.decoder), _shares(recipe.incremental)]
    return tuple(name for name in ("read_write", "turns", "grouped") if any(one.get(name) for one in found))


def newest_checkpoint(recipe: Recipe) -> Path:
    later = recipe.folder / "incremental" / "decoder.pt"
    return later if later.exists() else recipe.folder / "decoder" / "decoder.pt"


def _vocabulary(recipe: Recipe) -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=str(recipe.folder / VOCABULARY_FILE))


def _trained(recipe: Recipe) -> Any:
    from simulst.training.stages import new_model

    model = new_model(recipe)
    state = torch.load(recipe.folder / "decoder" / "decoder.pt", weights_only=True)
    model.load_state_dict(state["model"], strict=False)
    return model


def sampler(
    recipe: Recipe, config: DecoderTrainingConfig, corpus: Corpus, vocabulary: Any, marks: Marks
) -> IncrementalSampler | None:
    """The sampler of the incremental tasks, None where their shares are 0."""
    if not any(_shares(config).values()):
        return None
    annotations = Annotations.read(recipe.folder / "features")
    return IncrementalSampler(annotations, corpus, vocabulary, marks, config.samples)


def annotate(recipe: Recipe) -> None:
    """When words are over (by the CTC of the trained decoder) and what target words wait for (by word alignment)."""
    if not tasks(recipe):
        return
    torch.set_num_threads(recipe.threads)
    vocabulary, where = _vocabulary(recipe), recipe.folder / "features"
    corpus = Corpus.read(recipe.path(recipe.data.train), vocabulary)
    if not (where / NEEDS_FILE).exists():
        annotate_needs(corpus, vocabulary, where / NEEDS_FILE)
    model = _trained(recipe).eval() if (recipe.folder / "decoder" / "decoder.pt").exists() else None
    clock = WordClock(vocabulary=vocabulary, model=model, blank=Marks.of(vocabulary).blank)
    vectors = None
    if model is not None:
        vectors = open_vectors(where, model.config.stack * model.config.encoder.model_dim)
    annotate_words(read_talks(where), vectors, corpus.english, clock, where / WORDS_FILE)


def incremental(recipe: Recipe) -> None:
    """Go on training the decoder with the shares of `[incremental.samples]`."""
    if recipe.incremental is None:
        return
    from simulst.training.stages import dev_batches

    torch.set_num_threads(recipe.threads)
    vocabulary, where = _vocabulary(recipe), recipe.folder / "features"
    marks, config = Marks.of(vocabulary), recipe.incremental
    corpus = Corpus.read(recipe.path(recipe.data.train), vocabulary)
    later = sampler(recipe, config, corpus, vocabulary, marks)

    def draw() -> Sampler:
        return Sampler(corpus, where, marks, config.samples, later)

    dev = dev_batches(recipe, vocabulary, marks)
    train_decoder(_trained(recipe), draw, where, marks, recipe.folder / "incremental", config, dev)
