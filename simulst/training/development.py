"""Development sets: losses, BLEU of texts and word errors of CTC, which the log says of every checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simulst.models.speech_llm.network import SpeechLLM
from simulst.training.batch import Batch, collate
from simulst.training.features import read_talks
from simulst.training.greedy import text_bleu
from simulst.training.heard import word_error_rate, words_heard
from simulst.training.objective import dev_losses
from simulst.training.pieces import Pieces
from simulst.training.recipe import Recipe
from simulst.training.sample import Marks, Sample
from simulst.training.samples import open_vectors
from simulst.training.texts import Corpus, TextSource, held_pairs

SPOKEN = ("known", "unseen", "people")
"""Development speech: voices of training, other voices, people held back."""


def text_sets(recipe: Recipe, limit: int = 1000) -> dict[str, list[tuple[str, str]]]:
    """Development pairs of text (first reference): the main set, and what is held back of further files."""
    first: dict[str, str] = {}
    for pair in recipe.pairs(recipe.data.dev):
        first.setdefault(pair.source, pair.target)
    sets = {"text": list(first.items())[:limit]}
    for source, path in recipe.texts:
        name = path.name.split(".")[0]
        if count := recipe.data.held.get(name):
            sets[name] = [(pair.source, pair.target) for pair in held_pairs(path, source, min(count, limit))]
    return sets


def _text_batches(pairs: list[tuple[str, str]], vocabulary: Pieces, marks: Marks, width: int) -> list[Batch]:
    samples = []
    for source, target in ((vocabulary.encode(a), vocabulary.encode(b)) for a, b in pairs):
        ids = [marks.source, *source, marks.target, *target, marks.eos]
        samples.append(Sample(ids, [0.0] * (len(source) + 2) + [1.0] * (len(target) + 1)))
    samples.sort(key=lambda sample: len(sample.ids))
    return [collate(samples[at : at + 50], None, width) for at in range(0, len(samples), 50)]


def dev_batches(
    recipe: Recipe, vocabulary: Pieces, marks: Marks, width: int, limit: int = 200
) -> dict[str, list[Batch]]:
    """Dev sets for cross-entropy during training: texts, known voices, unseen voices (first reference); speech vectors
    are `width` wide."""
    texts = text_sets(recipe, limit)
    sets = {f"dev_{name}": _text_batches(pairs, vocabulary, marks, width) for name, pairs in texts.items()}
    corpus = _dev_corpus(recipe, vocabulary)
    for name in ("known", "unseen"):
        folder, samples = recipe.folder / f"dev_{name}", []
        for talk in read_talks(folder)[:limit]:
            target = corpus.target[talk.sentences[0][0]][0]
            ids = [marks.speech, *[-1] * talk.count, marks.target, *target, marks.eos]
            weights = [0.0] * (talk.count + 2) + [1.0] * (len(target) + 1)
            samples.append(Sample(ids, weights, (talk.first, talk.first + talk.count), []))
        samples.sort(key=lambda sample: len(sample.ids))
        if samples:
            vectors = open_vectors(folder, width)
            sets[f"dev_{name}"] = [collate(samples[at : at + 50], vectors, width) for at in range(0, len(samples), 50)]
    return sets


def _dev_corpus(recipe: Recipe, vocabulary: Pieces) -> Corpus:
    dev = TextSource(path=recipe.data.dev, swapped=recipe.data.swapped)
    return Corpus.of([(dev, recipe.path(dev.path))], vocabulary)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """Development speech of one kind, and what was said."""

    said: list[str]
    stacked: list[Tensor]
    """Stacked frames [count, width] of each clip."""


def clips(recipe: Recipe, vocabulary: Pieces, width: int, limit: int = 200) -> dict[str, Clips]:
    """Those of the `SPOKEN` whose features there are; stacked frames are `width` wide."""
    sentences = [vocabulary.decode(source) for source in _dev_corpus(recipe, vocabulary).source]
    people = recipe.folder / "devspeech_people.txt"
    lines = people.read_text().splitlines() if people.exists() else []
    found = {}
    for name in SPOKEN:
        folder, said = recipe.folder / f"dev_{name}", lines if name == "people" else sentences
        if talks := read_talks(folder)[:limit]:
            bits = open_vectors(folder, width)
            rows = [torch.from_numpy(np.array(bits[one.first : one.first + one.count])) for one in talks]
            stacked = [one.view(torch.bfloat16) for one in rows]
            found[name] = Clips(said=[said[one.sentences[0][0]] for one in talks], stacked=stacked)
    return found


def ctc_errors(model: SpeechLLM, sets: dict[str, Clips], vocabulary: Pieces, blank: int) -> dict[str, float]:
    """Word error rate of CTC alone on every set, in %, as `wer_NAME`."""
    return {
        f"wer_{name}": word_error_rate([words_heard(model, one, vocabulary, blank) for one in own.stacked], own.said)
        for name, own in sets.items()
    }


def scorer(recipe: Recipe, vocabulary: Pieces, marks: Marks, width: int) -> Callable[[SpeechLLM], dict[str, float]]:
    """What the log says of a checkpoint: losses of all dev sets, BLEU of greedy translations of the texts, and the word
    errors of CTC."""
    computing, texts = recipe.computing, text_sets(recipe, recipe.data.scored)
    made = dev_batches(recipe, vocabulary, marks, width)
    spoken = clips(recipe, vocabulary, width)
    sets = {name: [batch.on(computing) for batch in batches] for name, batches in made.items()}

    def score(model: SpeechLLM) -> dict[str, float]:
        with computing.autocast():
            bleu = {f"bleu_{name}": text_bleu(model, pairs, vocabulary, marks) for name, pairs in texts.items()}
            words = ctc_errors(model, spoken, vocabulary, marks.blank)
        return dev_losses(model, sets, computing) | bleu | words

    return score
