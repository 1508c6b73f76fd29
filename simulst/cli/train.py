"""`simulst train RECIPE.toml`."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe such as examples/tiny-en-de.toml.", metavar="RECIPE.toml")],
    stage: Annotated[
        str | None, typer.Option(help="Run this stage only, even if it was finished before.", metavar="NAME")
    ] = None,
) -> None:
    """Make a model: vocabulary, speech, encoder, features, decoder, export. Stop and start it as you like."""
    from simulst.training.recipe import read_recipe
    from simulst.training.run import run_recipe

    folder = run_recipe(read_recipe(recipe), stage)
    print(f"model in {folder}")
