"""The stage `monotonic` of a recipe: write probabilities for the exported model, beside its weights."""

import torch

from simulst.errors import DataError
from simulst.models.registry import load_model
from simulst.models.speech_llm.monotonic import MONOTONIC_FILE, save_heads
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.training.monotonic import train_heads
from simulst.training.monotonic_data import tables
from simulst.training.recipe import Recipe
from simulst.training.speech import SpeechStore


def monotonic(recipe: Recipe) -> None:
    """Train what `[monotonic]` says on the spoken sentences; without the table nothing is done."""
    config = recipe.monotonic
    if config is None:
        return
    torch.set_num_threads(recipe.threads)
    folder = recipe.folder / "model"
    model = load_model(folder, dtype="float32")
    assert isinstance(model, SpeechLLMTranslator)
    deep = int(model.weights.model.decoder.config.num_hidden_layers)
    if config.layers > deep:
        raise DataError(f"[monotonic] layers is {config.layers}; the decoder has {deep}.")
    layers = range(deep - config.layers, deep)
    store = SpeechStore(recipe.folder / "speech")
    found = tables(model, store, layers, seed=config.seed, count=config.clips, minutes=config.minutes)
    save_heads(train_heads(found, layers, config), folder / MONOTONIC_FILE)
