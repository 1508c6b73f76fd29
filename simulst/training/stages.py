"""The stages of a training recipe, each a function of the recipe that resumes what it finds in the work folder."""

import random
from collections.abc import Callable
from dataclasses import replace

import torch

from simulst.errors import DataError
from simulst.models.speech_llm.adapted import merge
from simulst.models.speech_llm.encoder import BlockCausalEncoder
from simulst.models.speech_llm.network import SpeechLLM, save_model
from simulst.models.speech_llm.streaming_encoder import StreamingEncoder
from simulst.models.speech_llm.vocabulary import VOCABULARY_FILE, copy_vocabulary
from simulst.training import features as feature_stage
from simulst.training import incremental_stages
from simulst.training.batch import Batch, collate
from simulst.training.checkpoints import exported, first_encoder, model_after, new_model
from simulst.training.decoder import DecoderTrainingConfig, train_decoder
from simulst.training.greedy import text_bleu
from simulst.training.imitation import imitate
from simulst.training.objective import dev_losses
from simulst.training.pieces import Pieces
from simulst.training.pretrained import begin, pieces_of
from simulst.training.recipe import Recipe
from simulst.training.sample import Marks, Sample
from simulst.training.samples import Sampler, open_vectors
from simulst.training.speech import SpeechStore
from simulst.training.synthesis import synthesise
from simulst.training.texts import Corpus, TextSource, held_pairs
from simulst.training.vocabulary import train_vocabulary


def vocabulary(recipe: Recipe) -> None:
    """Joint SentencePiece model of all training text; of a pretrained decoder its own tokenizer with marks."""
    if recipe.model.start:
        copy_vocabulary(recipe.path(recipe.model.start), recipe.folder)
        return
    if isinstance(recipe.model.decoder, str):
        begin(recipe, recipe.model.decoder)
        return
    target = recipe.folder / VOCABULARY_FILE
    sentences = ((said, *translations) for _, part in recipe.sentences() for said, translations in part.items())
    lines = (line for group in sentences for line in group)
    data = recipe.data
    train_vocabulary(lines, target, recipe.model.vocabulary_size, source=data.source, target=data.target)


def spoken_sentences(recipe: Recipe) -> list[tuple[int, str]]:
    """(number, text) of the sentences that the synthesisers speak: a share of every file, the same one each time."""
    chosen: list[tuple[int, str]] = []
    for part, sentences in recipe.sentences():
        numbered = list(enumerate(sentences, part.first))
        chance = random.Random(f"{recipe.data.seed}/{part.first}")
        chosen += [one for one in numbered if chance.random() < part.spoken]
    return chosen[: recipe.data.max_sentences or None]


def speech(recipe: Recipe) -> None:
    """Every training sentence spoken once, and the dev sentences by known and by unseen voices."""
    data = recipe.data
    train = spoken_sentences(recipe)
    synthesise(train, data.voices, recipe.folder / "speech", workers=data.workers, seed=data.seed)
    dev = list(enumerate(dict.fromkeys(pair.source for pair in recipe.pairs(data.dev))))[: data.dev_sentences]
    for name, voices in (("known", data.voices), ("unseen", data.dev_voices)):
        synthesise(dev, voices, recipe.folder / f"devspeech_{name}", workers=data.workers, seed=data.seed + 1)


def encoder(recipe: Recipe) -> None:
    """Imitation training of the block-causal encoder; another is taken as it is."""
    torch.set_num_threads(recipe.threads)
    if recipe.imitation.steps == 0:
        return
    store, model = SpeechStore(recipe.folder / "speech"), first_encoder(recipe)
    if not isinstance(model, BlockCausalEncoder):
        raise DataError(f"The encoder of {recipe.model.encoder} is taken as it is; say [imitation] steps = 0.")
    imitate(model, store, recipe.folder / "encoder", recipe.imitation, recipe.computing)


def trained_encoder(recipe: Recipe) -> StreamingEncoder:
    """The encoder that the recipe has made, or the one it starts with."""
    checkpoint, model = recipe.folder / "encoder" / "encoder.pt", first_encoder(recipe)
    if checkpoint.exists():
        model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["encoder"])
    return model.eval().requires_grad_(False)


def features(recipe: Recipe) -> None:
    """Speech vectors of synthetic talks, and of the dev sentences as they are."""
    torch.set_num_threads(recipe.threads)
    model, computing = trained_encoder(recipe), recipe.computing
    plain = replace(recipe.features, single_share=1.0, augmented=False)
    for name in ("known", "unseen"):
        store = SpeechStore(recipe.folder / f"devspeech_{name}")
        feature_stage.extract(model, store, recipe.folder / f"dev_{name}", plain, computing)
    store = SpeechStore(recipe.folder / "speech")
    feature_stage.extract(model, store, recipe.folder / "features", recipe.features, computing)


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
    dev = TextSource(path=recipe.data.dev, swapped=recipe.data.swapped)
    corpus = Corpus.of([(dev, recipe.path(dev.path))], vocabulary)
    for name in ("known", "unseen"):
        folder, samples = recipe.folder / f"dev_{name}", []
        for talk in feature_stage.read_talks(folder)[:limit]:
            target = corpus.target[talk.sentences[0][0]][0]
            ids = [marks.speech, *[-1] * talk.count, marks.target, *target, marks.eos]
            weights = [0.0] * (talk.count + 2) + [1.0] * (len(target) + 1)
            samples.append(Sample(ids, weights, (talk.first, talk.first + talk.count), []))
        samples.sort(key=lambda sample: len(sample.ids))
        if samples:
            vectors = open_vectors(folder, width)
            sets[f"dev_{name}"] = [collate(samples[at : at + 50], vectors, width) for at in range(0, len(samples), 50)]
    return sets


def scorer(recipe: Recipe, vocabulary: Pieces, marks: Marks, width: int) -> Callable[[SpeechLLM], dict[str, float]]:
    """What the log says of a checkpoint: losses of all dev sets, BLEU of greedy translations of the texts."""
    computing, texts = recipe.computing, text_sets(recipe, recipe.data.scored)
    made = dev_batches(recipe, vocabulary, marks, width)
    sets = {name: [batch.on(computing) for batch in batches] for name, batches in made.items()}

    def score(model: SpeechLLM) -> dict[str, float]:
        with computing.autocast():
            bleu = {f"bleu_{name}": text_bleu(model, pairs, vocabulary, marks) for name, pairs in texts.items()}
        return dev_losses(model, sets, computing) | bleu

    return score


def _train(recipe: Recipe, name: str, config: DecoderTrainingConfig, model: SpeechLLM) -> None:
    torch.set_num_threads(recipe.threads)
    pieces = pieces_of(recipe)
    marks = recipe.marks(pieces)
    corpus = Corpus.of(recipe.texts, pieces)
    where = recipe.folder / "features"
    later = incremental_stages.sampler(recipe, config, corpus, pieces, marks)
    only_text = config.samples.text_share_start == config.samples.text_share_end == 1

    def draw() -> Sampler:
        return Sampler(corpus, None if only_text else where, marks, config.samples, later)

    score = scorer(recipe, pieces, marks, model.config.stack * model.config.encoder.model_dim)
    train_decoder(model, draw, where, marks, recipe.folder / name, config, score, recipe.computing)


def text(recipe: Recipe) -> None:
    """The decoder on text alone: short sequences, no encoder, the cheapest steps there are."""
    if recipe.text is not None:
        samples = replace(recipe.text.samples, text_share_start=1.0, text_share_end=1.0)
        _train(recipe, "text", replace(recipe.text, samples=samples), new_model(recipe))


def decoder(recipe: Recipe) -> None:
    """Projector and decoder on speech vectors and text."""
    if recipe.decoder is not None and recipe.decoder.steps:
        _train(recipe, "decoder", recipe.decoder, model_after(recipe, "text"))


def incremental(recipe: Recipe) -> None:
    """Go on training the decoder with the shares of `[incremental.samples]`."""
    if recipe.incremental is not None:
        _train(recipe, "incremental", recipe.incremental, model_after(recipe, "decoder", "text"))


def export(recipe: Recipe) -> None:
    """Encoder and decoder together as a model folder."""
    model = exported(recipe)
    model.encoder.load_state_dict(trained_encoder(recipe).state_dict())
    learned = (*model.config.tasks, *incremental_stages.learned(recipe))
    model.config = replace(model.config, tasks=tuple(dict.fromkeys(learned)))
    if not recipe.export.adapter_only:
        merge(model.decoder)
        model.config = replace(model.config, base=None)
    folder = recipe.folder / "model"
    save_model(model, folder)
    copy_vocabulary(recipe.folder, folder)
