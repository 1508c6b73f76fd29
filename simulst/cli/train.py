"""`simulst train RECIPE.toml`."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe such as examples/tiny-en-de.toml.", metavar="RECIPE.toml")],
    stage: Annotated[
        str | None, typer.Option(help="Run this stage only, even if it was finished before.", metavar="NAME")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Only plot losses and BLEU against hours, from the logs so far.", metavar="FILE.svg"),
    ] = None,
) -> None:
    """Make a model: vocabulary, text, speech, encoder, features, decoder, export. Stop and start it as you like."""
    from simulst.training.recipe import read_recipe
    from simulst.training.run import run_recipe

    if picture is not None:
        from simulst.training.picture import draw

        draw(read_recipe(recipe).folder, picture)
        print(picture)
        return
    folder = run_recipe(read_recipe(recipe), stage)
    print(f"model in {folder}" if folder.is_dir() else f"{stage} done; the stage export writes {folder}")
