"""The stage `transducer` of a recipe: a joint network for the exported model, beside its weights."""

from pathlib import Path

import torch

from simulst.errors import DataError
from simulst.models.fingerprint import fingerprint_of_weights
from simulst.models.registry import load_model
from simulst.models.speech_llm.transducer import TRANSDUCER_FILE, save_joint
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.training.averaging import write_checkpoint
from simulst.training.recipe import Recipe
from simulst.training.transducer import Training, TransducerConfig, train_joint
from simulst.training.transducer_data import Talks, Wanted, collect, label_scores

STATE = "training.pt"


def transducer(recipe: Recipe) -> None:
    """Train what `[transducer]` says on speech vectors of spoken sentences; without the table nothing is done."""
    config = recipe.transducer
    if config is None:
        return
    torch.set_num_threads(recipe.threads)
    folder = recipe.folder / "model"
    model = load_model(folder, dtype=recipe.dtype)
    assert isinstance(model, SpeechLLMTranslator)
    work = recipe.folder / "transducer" / fingerprint_of_weights(folder)
    wanted = Wanted(count=config.clips, seed=config.seed, minutes=config.minutes, longest_s=config.longest_s)
    talks = Talks(recipe.folder / "features", model.weights)
    lattices = collect(talks, model.compute.new_cache, work, wanted)
    training = begun(work / STATE, lattices[0].speech.shape[-1] if lattices else 1, config)
    score = label_scores(model.weights)
    network = train_joint(training, lattices, score, config, lambda one: write_checkpoint(one.state(), work / STATE))
    save_joint(network, folder / TRANSDUCER_FILE)


def begun(path: Path, width: int, config: TransducerConfig) -> Training:
    """The training as its checkpoint has it, or a new one; DataError where the checkpoint is of another network."""
    training = Training.begin(width, config)
    if not path.is_file():
        return training
    found = torch.load(path, map_location="cpu", weights_only=True)
    try:
        training.network.load_state_dict(found["network"])
        training.optimiser.load_state_dict(found["optimiser"])
        training.step = int(found["step"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is of another network than [transducer] describes; remove it to begin anew."
        ) from error
    return training
