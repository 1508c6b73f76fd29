"""`simulst train`: the stages of a recipe in order; what a stage finished before is not done again."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from simulst.errors import DataError
from simulst.training import incremental_stages, monotonic_stage, people_stage, transducer_stage
from simulst.training import stages as steps
from simulst.training.recipe import Recipe

Stage = Callable[[Recipe], None]

SHARED = ("text", "decoder", "incremental")
"""Stages that the processes of torchrun share; the others are for one process."""


def stages() -> dict[str, Stage]:
    """Names of the stages in order and what runs them."""
    return {
        "vocabulary": steps.vocabulary,
        "text": steps.text,
        "speech": steps.speech,
        "recordings": people_stage.recordings,
        "encoder": steps.encoder,
        "features": steps.features,
        "decoder": steps.decoder,
        "annotate": incremental_stages.annotate,
        "incremental": steps.incremental,
        "export": steps.export,
        "monotonic": monotonic_stage.monotonic,
        "transducer": transducer_stage.transducer,
    }


def run_recipe(recipe: Recipe, only: str | None = None) -> Path:
    """Run all stages, or one; what a stage finished before is not done again. Returns the folder of the model."""
    known = stages()
    if only is not None and only not in known:
        raise DataError(f"Unknown stage {only!r}; known: {', '.join(known)}.")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    recipe.folder.mkdir(parents=True, exist_ok=True)
    done_file = recipe.folder / "stages.json"
    done: list[str] = json.loads(done_file.read_text()) if done_file.exists() else []
    for name, stage in known.items():
        if (only is None and name in done) or only not in (None, name):
            continue
        if several and name not in SHARED:
            raise DataError(f"The stage {name} is for one process; torchrun is for --stage {', '.join(SHARED)}.")
        print(f"== {name}", flush=True)
        stage(recipe)
        done = [*dict.fromkeys([*done, name])]
        if os.environ.get("RANK", "0") == "0":
            done_file.write_text(json.dumps(done))
    return recipe.folder / "model"
