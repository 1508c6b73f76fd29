"""The stages of a recipe that teach a trained decoder to read and write; they do nothing without `[incremental]`."""

import torch

from simulst.training.checkpoints import model_after
from simulst.training.decoder import DecoderTrainingConfig
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
from simulst.training.pieces import Pieces
from simulst.training.pretrained import pieces_of
from simulst.training.recipe import Recipe
from simulst.training.sample import Marks, SampleConfig
from simulst.training.samples import open_vectors
from simulst.training.texts import Corpus


def _shares(config: DecoderTrainingConfig | None) -> dict[str, float]:
    return {} if config is None else config.samples.in_time


def learned(recipe: Recipe) -> tuple[str, ...]:
    """What the exported model was trained on besides plain translation."""
    chained = any(one is not None and one.samples.cascade_share for one in (recipe.decoder, recipe.incremental))
    return (*tasks(recipe), *(("chain",) if chained else ()))


def tasks(recipe: Recipe) -> tuple[str, ...]:
    """Those of its tasks that take the order of time."""
    found = [_shares(recipe.decoder), _shares(recipe.incremental)]
    return tuple(name for name in SampleConfig().in_time if any(one.get(name) for one in found))


def _vocabulary(recipe: Recipe) -> Pieces:
    return pieces_of(recipe)


def sampler(
    recipe: Recipe, config: DecoderTrainingConfig, corpus: Corpus, vocabulary: Pieces, marks: Marks
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
    corpus, talks = Corpus.of(recipe.texts, vocabulary), read_talks(where)
    if not (where / NEEDS_FILE).exists():
        spoken = {sentence for talk in talks for sentence, _, _ in talk.sentences}
        annotate_needs(corpus, vocabulary, where / NEEDS_FILE, only=spoken)
    # text alone moves the embeddings away from what the projector says, so its checkpoint does not tell words apart
    hears = recipe.model.start or (recipe.folder / "decoder" / "decoder.pt").exists()
    model = model_after(recipe, "decoder").eval().to(recipe.computing.device) if hears else None
    clock = WordClock(vocabulary=vocabulary, model=model, blank=recipe.marks(vocabulary).blank)
    vectors = None
    if model is not None:
        vectors = open_vectors(where, model.config.stack * model.config.encoder.model_dim)
    annotate_words(talks, vectors, corpus.source, clock, where / WORDS_FILE)
