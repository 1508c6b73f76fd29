"""The stage `recordings` of a recipe: transcripts with case, translated by the text model, clips in a shard."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from simulst.outputs import write_text
from simulst.training.checkpoints import model_after
from simulst.training.greedy import translate_texts
from simulst.training.pretrained import pieces_of
from simulst.training.recipe import PEOPLE_TEXT, Recipe
from simulst.training.recordings import (
    PEOPLE,
    Caser,
    Recogniser,
    Recording,
    RecordingsConfig,
    Shard,
    read_manifest,
    read_recordings,
    sentences_of,
    transcripts,
)

LONGEST_S = 24.0
PORTION = 100


def recordings(recipe: Recipe) -> None:
    """Do nothing without `[data.recordings]`; resumes after the transcripts."""
    config = recipe.data.recordings
    if config is None:
        return
    torch.set_num_threads(recipe.threads)
    manifest = recipe.path(config.manifest)
    known = [one for one in read_manifest(manifest) if one.seconds <= LONGEST_S]
    usual = Caser(pair.source for pair in recipe.pairs(recipe.data.train))
    text = transcripts(manifest, known, usual, _recogniser(config), recipe.folder / "transcripts.tsv")
    held = [one for one in known if one.speaker in config.held_speakers]
    train = [one for one in known if one.speaker not in config.held_speakers]
    target = recipe.folder / PEOPLE_TEXT
    if not target.exists():
        _translate(recipe, list(dict.fromkeys(text[one.audio] for one in train)), target)
    numbers = {one: part.first + i for part, own in recipe.sentences() for i, one in enumerate(own)}
    Shard(folder=recipe.folder / "speech", name=PEOPLE).write(_clips(manifest, train, text, numbers))
    in_order = {one.audio: i for i, one in enumerate(held)}
    Shard(folder=recipe.folder / "devspeech_people", name=PEOPLE).write(
        (in_order[one.audio], f"{PEOPLE}-{one.speaker}", samples) for one, samples in read_recordings(manifest, held)
    )
    (recipe.folder / "devspeech_people.txt").write_text("".join(f"{one.text}\n" for one in held))


def _recogniser(config: RecordingsConfig) -> Recogniser | None:
    if not config.recogniser:
        return None
    from simulst.core.session import Session
    from simulst.models import load_model
    from simulst.policies import load_policy
    from simulst.sinks.drive import drive

    model, policy = load_model(config.recogniser), load_policy("offline", beams=1)

    def recognise(samples: npt.NDArray[np.float32]) -> str:
        session = Session(model, policy)
        drive(session, [samples], [])
        return session.text.strip()

    return recognise


def _translate(recipe: Recipe, spoken: list[str], target: Path) -> None:
    """Every sentence of a transcript by itself, with four beams; what is done is kept until all is."""
    vocabulary = pieces_of(recipe)
    model = model_after(recipe, "incremental", "decoder", "text").eval().to(recipe.computing.device)
    part = target.with_suffix(".part")
    done = [one for one in part.read_text().splitlines(keepends=True) if one.endswith("\n")] if part.exists() else []
    began, first = time.monotonic(), len(done)
    for at in range(first, len(spoken), PORTION):
        portion = spoken[at : at + PORTION]
        cut = [sentences_of(one) for one in portion]
        flat = [one for group in cut for one in group]
        translated = iter(translate_texts(model, flat, vocabulary, recipe.marks(vocabulary), beams=4))
        done += [f"{one}\t{' '.join(next(translated) for _ in own)}\n" for one, own in zip(portion, cut, strict=True)]
        write_text(part, "".join(done))
        left = (len(spoken) - len(done)) * (time.monotonic() - began) / (len(done) - first) / 60
        print(f"{len(done)}/{len(spoken)} transcripts translated, {left:.0f} min left", flush=True)
    write_text(target, "".join(done))
    part.unlink(missing_ok=True)


def _clips(
    manifest: Path, wanted: list[Recording], text: dict[str, str], numbers: dict[str, int]
) -> Iterator[tuple[int, str, npt.NDArray[np.float32]]]:
    for one, samples in read_recordings(manifest, wanted):
        yield numbers[text[one.audio]], f"{PEOPLE}-{one.speaker}", samples
