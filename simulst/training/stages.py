"""The stages of a training recipe, each a function of the recipe that resumes what it finds in the work folder."""

import random
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
from simulst.training.checkpoints import exported, first_encoder, model_after, new_model
from simulst.training.decoder import DecoderTrainingConfig, train_decoder
from simulst.training.development import SPOKEN, scorer
from simulst.training.imitation import imitate
from simulst.training.pretrained import begin, pieces_of
from simulst.training.recipe import Recipe
from simulst.training.rough import RoughText
from simulst.training.samples import Sampler
from simulst.training.speech import SpeechStore
from simulst.training.synthesis import synthesise
from simulst.training.texts import Corpus
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
    for name in SPOKEN:
        if not (where := recipe.folder / f"devspeech_{name}").exists():
            continue  # no recordings of people
        store = SpeechStore(where)
        feature_stage.extract(model, store, recipe.folder / f"dev_{name}", plain, computing)
    store = SpeechStore(recipe.folder / "speech")
    feature_stage.extract(model, store, recipe.folder / "features", recipe.features, computing)


def _train(recipe: Recipe, name: str, config: DecoderTrainingConfig, model: SpeechLLM) -> None:
    torch.set_num_threads(recipe.threads)
    pieces = pieces_of(recipe)
    marks = recipe.marks(pieces)
    corpus = Corpus.of(recipe.texts, pieces)
    where = recipe.folder / "features"
    later = incremental_stages.sampler(recipe, config, corpus, pieces, marks)
    samples = config.samples
    only_text = samples.text_share_start == samples.text_share_end == 1
    rough = RoughText(pieces, samples) if samples.text_merged_share or samples.text_repeated_share else None

    def draw() -> Sampler:
        return Sampler(corpus, None if only_text else where, marks, samples, later, rough)

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
