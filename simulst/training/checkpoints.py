"""The model of a recipe as its stages leave it."""

import torch

from simulst.models.speech_llm.network import SpeechLLM, SpeechLLMConfig, load_weights, read_config, tiny_decoder_config
from simulst.training.recipe import Recipe


def started(recipe: Recipe) -> SpeechLLM:
    """The weights that a recipe with `start` goes on from, free to be trained."""
    folder = recipe.path(recipe.model.start)
    return load_weights(folder, read_config(folder)).requires_grad_(True)


def new_model(recipe: Recipe) -> SpeechLLM:
    """The model of a recipe before its first stage."""
    if recipe.model.start:
        return started(recipe)
    decoder_config = tiny_decoder_config(recipe.model.vocabulary_size) | recipe.model.decoder
    torch.manual_seed(recipe.decoder.seed if recipe.decoder else 0)
    return SpeechLLM(SpeechLLMConfig(decoder=decoder_config))


def model_after(recipe: Recipe, *names: str) -> SpeechLLM:
    """The model as the newest of the named stages left it."""
    model = new_model(recipe)
    for name in names:
        checkpoint = recipe.folder / name / "decoder.pt"
        if checkpoint.exists():
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            model.load_state_dict(state["model"], strict=False)
            return model
    return model
