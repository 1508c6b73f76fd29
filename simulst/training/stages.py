"""The stages of a training recipe, each a function of the recipe that resumes what it finds in the work folder."""

import shutil
from dataclasses import replace
from typing import Any

import torch

from simulst.encoders.block_causal import BlockCausalConfig, BlockCausalEncoder
from simulst.encoders.moonshine import load_moonshine_encoder
from simulst.training import features as feature_stage
from simulst.training import incremental_stages
from simulst.training.decoder import Batch, collate, train_decoder
from simulst.training.imitation import imitate
from simulst.training.recipe import Recipe, pairs, sentences
from simulst.training.samples import Corpus, Marks, Sample, Sampler, open_vectors
from simulst.training.speech import SpeechStore
from simulst.training.synthesis import synthesise
from simulst.training.vocabulary import train_vocabulary
from simulst.translators.speech_llm import VOCABULARY_FILE
from simulst.translators.speech_llm_model import SpeechLLM, SpeechLLMConfig, save_model, tiny_decoder_config


def vocabulary(recipe: Recipe) -> None:
    """Joint SentencePiece model of all training text."""

    def lines() -> Any:
        last = None
        for english, german in pairs(recipe.path(recipe.data.train)):
            if english != last:
                yield english
            last = english
            yield german

    train_vocabulary(lines(), recipe.folder / VOCABULARY_FILE, recipe.model.vocabulary_size)


def speech(recipe: Recipe) -> None:
    """Every training sentence spoken once, and the dev sentences by known and by unseen voices."""
    data = recipe.data
    train = list(enumerate(sentences(recipe.path(data.train))))
    if data.max_sentences:
        train = train[: data.max_sentences]
    synthesise(train, data.voices, recipe.folder / "speech", workers=data.workers, seed=data.seed)
    dev = list(enumerate(sentences(recipe.path(data.dev))))[: data.dev_sentences]
    for name, voices in (("known", data.voices), ("unseen", data.dev_voices)):
        synthesise(dev, voices, recipe.folder / f"devspeech_{name}", workers=data.workers, seed=data.seed + 1)


def encoder(recipe: Recipe) -> None:
    """Imitation training of the block-causal encoder."""
    torch.set_num_threads(recipe.threads)
    model = load_moonshine_encoder(recipe.path(recipe.model.encoder))
    imitate(model, SpeechStore(recipe.folder / "speech"), recipe.folder / "encoder", recipe.imitation)


def _trained_encoder(recipe: Recipe) -> BlockCausalEncoder:
    model = BlockCausalEncoder(BlockCausalConfig())
    state = torch.load(recipe.folder / "encoder" / "encoder.pt", weights_only=True)
    model.load_state_dict(state["encoder"])
    return model.eval().requires_grad_(False)


def features(recipe: Recipe) -> None:
    """Speech vectors of synthetic talks, and of the dev sentences as they are."""
    torch.set_num_threads(recipe.threads)
    model = _trained_encoder(recipe)
    plain = replace(recipe.features, single_share=1.0, augmented=False)
    for name in ("known", "unseen"):
        store = SpeechStore(recipe.folder / f"devspeech_{name}")
        feature_stage.extract(model, store, recipe.folder / f"dev_{name}", plain)
    feature_stage.extract(model, SpeechStore(recipe.folder / "speech"), recipe.folder / "features", recipe.features)


def new_model(recipe: Recipe) -> SpeechLLM:
    """The model of a recipe, untrained but for what its stages load."""
    decoder_config = tiny_decoder_config(recipe.model.vocabulary_size) | recipe.model.decoder
    torch.manual_seed(recipe.decoder.seed)
    return SpeechLLM(SpeechLLMConfig(decoder=decoder_config))


def dev_batches(recipe: Recipe, vocabulary: Any, marks: Marks, limit: int = 200) -> dict[str, list[Batch]]:
    """Dev sets for cross-entropy during training: text, known voices, unseen voices (first reference)."""
    corpus = Corpus.read(recipe.path(recipe.data.dev), vocabulary)
    texts = [
        Sample([marks.english, *e, marks.german, *g[0], marks.eos], [0.0] * (len(e) + 2) + [1.0] * (len(g[0]) + 1))
        for e, g in zip(corpus.english[:limit], corpus.german[:limit], strict=True)
    ]
    width = 4 * BlockCausalConfig().model_dim
    sets = {"dev_text": [collate(texts[at : at + 50], None, width) for at in range(0, len(texts), 50)]}
    for name in ("known", "unseen"):
        folder, samples = recipe.folder / f"dev_{name}", []
        for talk in feature_stage.read_talks(folder)[:limit]:
            german = corpus.german[talk.sentences[0][0]][0]
            ids = [marks.speech, *[-1] * talk.count, marks.german, *german, marks.eos]
            weights = [0.0] * (talk.count + 2) + [1.0] * (len(german) + 1)
            samples.append(Sample(ids, weights, (talk.first, talk.first + talk.count), []))
        samples.sort(key=lambda sample: len(sample.ids))
        if samples:
            vectors = open_vectors(folder, width)
            sets[f"dev_{name}"] = [collate(samples[at : at + 50], vectors, width) for at in range(0, len(samples), 50)]
    return sets


def decoder(recipe: Recipe) -> None:
    """Projector and decoder on speech vectors and text."""
    import sentencepiece

    torch.set_num_threads(recipe.threads)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(recipe.folder / VOCABULARY_FILE))
    marks = Marks.of(pieces)
    corpus = Corpus.read(recipe.path(recipe.data.train), pieces)
    where = recipe.folder / "features"

    def sampler() -> Sampler:
        return Sampler(corpus, where, marks, recipe.decoder.samples, later)

    later = incremental_stages.sampler(recipe, recipe.decoder, corpus, pieces, marks)
    dev = dev_batches(recipe, pieces, marks)
    train_decoder(new_model(recipe), sampler, where, marks, recipe.folder / "decoder", recipe.decoder, dev)


def export(recipe: Recipe) -> None:
    """Encoder and decoder together as a model folder, alignment heads calibrated on dev speech."""
    model = new_model(recipe)
    model.encoder.load_state_dict(_trained_encoder(recipe).state_dict())
    state = torch.load(incremental_stages.newest_checkpoint(recipe), weights_only=True)
    model.load_state_dict(state["model"], strict=False)
    model.config = replace(model.config, tasks=incremental_stages.tasks(recipe))
    folder = recipe.folder / "model"
    save_model(model, folder)
    shutil.copy(recipe.folder / VOCABULARY_FILE, folder / VOCABULARY_FILE)
