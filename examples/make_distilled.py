"""Write what a model's beams find for a recipe's sentences: of the candidates the one nearest to a reference.

python examples/make_distilled.py recipe.toml distilled.tsv --model simulst/models/tiny-en-de

A model that learns from it translates greedily what it found with beams before (Kim and Rush, 2016: sequence-level
interpolation). The third column is chrF against the nearest reference, from 0 to 1: with `min_score` a recipe takes
what came near. A sentence belongs to the first file of a recipe that has it, and is drawn by that file's weight.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from sacrebleu.metrics import CHRF

from simulst.cli import answered
from simulst.models.speech_llm.network import SpeechLLM, load_weights, read_config
from simulst.training.greedy import translations
from simulst.training.pretrained import pieces_of
from simulst.training.recipe import Recipe, read_recipe

BEAMS = 4
PORTION = 1000

Sentences = dict[str, list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="a folder; its weights for text alone are taken")
    parser.add_argument("--sentences", type=int, default=12_000, help="at most so many of each file of the recipe")
    parser.add_argument("--max-words", type=int, default=30)
    given = parser.parse_args()
    recipe = read_recipe(given.recipe)
    torch.set_num_threads(recipe.threads)
    model = load_weights(given.model, read_config(given.model), for_text=True).eval()
    write_distilled(recipe, model, chosen(recipe, given.sentences, given.max_words), given.out)


def chosen(recipe: Recipe, count: int, max_words: int) -> Sentences:
    """Sentences with their references, some of every file, in an order of chance that is always the same."""
    rng, found = random.Random(5), Sentences()
    for _, own in recipe.sentences():
        short = [one for one in own if len(one.split()) <= max_words]
        found |= {one: own[one] for one in rng.sample(short, min(count, len(short)))}
    return found


def write_distilled(recipe: Recipe, model: SpeechLLM, sentences: Sentences, path: Path) -> None:
    """Append a line for each sentence; what was stopped goes on behind the last whole line."""
    path.touch()
    whole = [one for one in path.read_text().splitlines(keepends=True) if one.endswith("\n")]
    path.write_text("".join(whole))
    done = {one.split("\t")[0] for one in whole}
    wanted = {one: references for one, references in sentences.items() if one not in done}
    began, count = time.monotonic(), 0
    with path.open("a") as out:
        for lines in distilled(recipe, model, wanted):
            out.writelines(lines)
            out.flush()
            count += len(lines)
            left = (len(wanted) - count) * (time.monotonic() - began) / count / 60
            print(f"{count}/{len(wanted)} sentences, {left:.0f} min left", flush=True)


def distilled(recipe: Recipe, model: SpeechLLM, sentences: Sentences) -> Iterator[list[str]]:
    """Lines of one portion after the other."""
    vocabulary, keys = pieces_of(recipe), list(sentences)
    marks = recipe.marks(vocabulary)
    for at in range(0, len(keys), PORTION):
        portion = keys[at : at + PORTION]
        found = translations(model, portion, vocabulary, marks, beams=BEAMS, candidates=BEAMS)
        yield [line(one, own, sentences[one]) for one, own in zip(portion, found, strict=True)]


def line(said: str, candidates: Sequence[str], references: Sequence[str]) -> str:
    """The candidate that comes nearest to one of the references."""
    chrf = CHRF()
    near = {one: max(chrf.sentence_score(one, [ref]).score for ref in references) for one in candidates}
    best = max(near, key=near.__getitem__)
    return f"{said}\t{' '.join(best.split())}\t{near[best] / 100:.2f}\n"


if __name__ == "__main__":
    sys.exit(answered(main))
