"""The model of a recipe as its stages leave it."""

from dataclasses import replace
from pathlib import Path

import torch

from simulst.errors import DataError
from simulst.models.checkpoint import read_json
from simulst.models.registry import OWN_FORMAT
from simulst.models.speech_llm.encoder import BlockCausalConfig
from simulst.models.speech_llm.fairseq2_encoders import SUFFIX, is_saved
from simulst.models.speech_llm.hub_encoders import find_encoder
from simulst.models.speech_llm.moonshine_weights import load_moonshine_encoder
from simulst.models.speech_llm.network import (
    EncoderConfig,
    SpeechLLM,
    SpeechLLMConfig,
    load_weights,
    read_config,
    tiny_decoder_config,
)
from simulst.models.speech_llm.sliding import CHECKPOINT, SlidingConfig, load_sliding
from simulst.models.speech_llm.streaming_encoder import StreamingEncoder
from simulst.models.speech_llm.windowed import Window, WindowedConfig, load_windowed
from simulst.training.averaging import averaged, newest
from simulst.training.pretrained import adapted_model
from simulst.training.recipe import Recipe
from simulst.training.state import fill
from simulst.training.vocabulary import language_mark


def started(recipe: Recipe) -> SpeechLLM:
    """The weights that a recipe with `start` goes on from, free to be trained.

    Its languages may be the other way round than in the recipe. DataError where it does not know both of them.
    """
    folder, data = recipe.path(recipe.model.start), recipe.data
    config = read_config(folder)
    if missing := [code for code in (data.source, data.target) if code not in config.languages]:
        known = ", ".join(config.languages)
        raise DataError(f"The model to start with, {folder}, does not know {missing[0]!r}; it knows {known}.")
    return load_weights(folder, replace(config, source=data.source, target=data.target)).requires_grad_(True)


def new_model(recipe: Recipe) -> SpeechLLM:
    """The model of a recipe before its first stage."""
    if recipe.model.start:
        return started(recipe)
    torch.manual_seed(recipe.decoder.seed if recipe.decoder else 0)
    sizes = _encoder_sizes(recipe)
    if isinstance(recipe.model.decoder, str):
        return adapted_model(recipe, recipe.model.decoder, sizes)
    decoder_config = tiny_decoder_config(recipe.model.vocabulary_size) | recipe.model.decoder
    source, target = recipe.data.source, recipe.data.target
    languages = {code: language_mark(code) for code in (source, target)}
    made = SpeechLLMConfig(
        encoder=sizes,
        stack=sizes.frame_multiple,
        decoder=decoder_config,
        languages=languages,
        source=source,
        target=target,
    )
    return SpeechLLM(made)


def _encoder_folder(recipe: Recipe) -> Path:
    return find_encoder(recipe.place(recipe.model.encoder))


def _encoder_sizes(recipe: Recipe) -> EncoderConfig:
    if not recipe.model.encoder:
        return BlockCausalConfig()
    folder = _encoder_folder(recipe)
    kind = _kind(folder, recipe)
    if kind == OWN_FORMAT:
        return read_config(folder).encoder
    if kind == CHECKPOINT:
        return SlidingConfig.of(folder)
    return BlockCausalConfig() if kind == "moonshine" else _windowed(folder, recipe)


def _kind(folder: Path, recipe: Recipe) -> str:
    """`simulst.json`, the `model_type` of a checkpoint, or the suffix of one of fairseq2; DataError for a window on one
    that takes none."""
    if is_saved(folder):
        return SUFFIX
    own = (folder / OWN_FORMAT).is_file()
    kind = OWN_FORMAT if own else str(read_json(folder / "config.json").get("model_type"))
    if kind in (OWN_FORMAT, "moonshine", CHECKPOINT) and recipe.model.window is not None:
        raise DataError("[model.window] is for encoders without a causal form; this one has its own, so leave it out.")
    return kind


def _windowed(folder: Path, recipe: Recipe) -> WindowedConfig:
    """DataError for a window that the encoder cannot have."""
    try:
        return WindowedConfig.of(folder, recipe.model.window or Window())
    except ValueError as error:
        raise DataError(f"[model.window] cannot be: {error}.") from error


def first_encoder(recipe: Recipe) -> StreamingEncoder:
    """The encoder that a recipe begins with: of a simulst model, or a checkpoint's as published. Raises ModelError."""
    if recipe.model.start:
        return started(recipe).encoder
    folder = _encoder_folder(recipe)
    kind = _kind(folder, recipe)
    if kind == OWN_FORMAT:
        return load_weights(folder, read_config(folder)).encoder.requires_grad_(True)
    if kind == CHECKPOINT:
        return load_sliding(folder)
    return load_moonshine_encoder(folder) if kind == "moonshine" else load_windowed(folder, _windowed(folder, recipe))


def exported(recipe: Recipe) -> SpeechLLM:
    """The model that the stage `export` writes: of one checkpoint, or the mean of several."""
    average, stages = recipe.export.average, ("incremental", "decoder", "text")
    if isinstance(average, int) and average <= 1:
        return model_after(recipe, *stages)
    if isinstance(average, dict):
        chosen = {recipe.path(name): weight for name, weight in average.items()}
    else:
        trained = [folder for name in stages if (folder := recipe.folder / name).is_dir()]
        chosen = newest(trained[0] if trained else recipe.folder, average)
    model = new_model(recipe)
    fill(model, averaged(chosen), "The mean of [export] average")
    return model


def model_after(recipe: Recipe, *names: str) -> SpeechLLM:
    """The model as the newest of the named stages left it."""
    model = new_model(recipe)
    for name in names:
        checkpoint = recipe.folder / name / "decoder.pt"
        if checkpoint.exists():
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            fill(model, state["model"], str(checkpoint), base=state.get("base", ""))
            return model
    return model
