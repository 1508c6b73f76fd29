"""Write what the bundled recogniser hears of a recipe's spoken sentences, beside their translations.

python examples/make_heard.py recipe.toml heard.tsv

A text model behind a recogniser reads wrong words and missing marks. `heard.tsv` is one more file of `[[data.more]]`
for the stage `text`; `plain.tsv` beside it has correct sentences of the recipe without capitals and marks. It needs
what the stage `speech` made. Sentences of which more than half was misheard are left out.
"""

import argparse
import random
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from word_errors import errors, words_of

from simulst import load_model
from simulst.audio.samples import SAMPLE_RATE
from simulst.cli import answered
from simulst.core.source import FloatArray
from simulst.models.seq2seq.moonshine import BlockMoonshine
from simulst.outputs import write_text
from simulst.training.recipe import Recipe, read_recipe
from simulst.training.speech import SpeechStore, augment, by_length, filled_up

AT_ONCE, BATCH_S, LONGEST_S = 512, 90.0, 22.0
CHANGED, BARE = 0.7, 0.12
"""Shares of the clips that get noise and rooms, and of the lines that come once more without capitals and marks."""
PLAIN = 16_000
TRANSLATIONS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    recipe = read_recipe(given.recipe)
    sentences = {k: one for part, own in recipe.sentences() for k, one in enumerate(own.items(), part.first)}
    write_heard(recipe, sentences, given.out)
    rng = random.Random(1)
    chosen = rng.sample(sorted(sentences), min(PLAIN, len(sentences)))
    plain = [f"{bare(sentences[k][0])}\t{rng.choice(sentences[k][1])}\n" for k in chosen if bare(sentences[k][0])]
    write_text(given.out.with_name("plain.tsv"), "".join(plain))


def write_heard(recipe: Recipe, sentences: Mapping[int, tuple[str, list[str]]], path: Path) -> None:
    """Append the lines of all clips; one that was stopped goes on, by what `.done` beside the file says."""
    done = path.with_name(f"{path.name}.done")
    begin, size = map(int, done.read_text().split()) if done.is_file() and path.is_file() else (0, 0)
    path.touch()
    with path.open("r+b") as out:
        out.truncate(size)
        out.seek(size)
        for clips, heard in hear(recipe, begin):
            for number, text in heard:
                out.write("".join(lines(number, text, *sentences[number])).encode())
            out.flush()
            write_text(done, f"{clips} {out.tell()}")


def lines(number: int, heard: str, said: str, translations: Sequence[str]) -> Iterator[str]:
    """What is written for one clip; nothing where too much of it was misheard."""
    rng = random.Random(f"lines/{number}")
    if not heard or 2 * errors(words_of(heard.lower()), words_of(said.lower())) > len(words_of(said)):
        return
    for one in rng.sample(translations, min(TRANSLATIONS, len(translations))):
        yield f"{heard}\t{one}\n"
        if rng.random() < BARE:
            yield f"{bare(heard)}\t{one}\n"


def bare(text: str) -> str:
    """Without capitals and marks."""
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower()).split())


def hear(recipe: Recipe, begin: int) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Clips done, and (number of the sentence, what the recogniser says) of the newest; most get noise and rooms."""
    store, model = SpeechStore(recipe.folder / "speech"), load_model("tiny-en", dtype="int8")
    assert isinstance(model, BlockMoonshine)
    for first in range(begin, len(store), AT_ONCE):
        heard = list[tuple[int, str]]()
        done = min(first + AT_ONCE, len(store))
        window = {k: audio for k in range(first, done) if len(audio := _clip(store, k)) < LONGEST_S * SAMPLE_RATE}
        numbers, clips = list(window), list(window.values())
        for batch in by_length(clips, BATCH_S):
            texts = transcripts(model, [clips[place] for place in batch])
            heard += [(store.clips[numbers[place]].sentence, text) for place, text in zip(batch, texts, strict=True)]
        yield done, heard
        print(f"{done}/{len(store)} clips", flush=True)


def _clip(store: SpeechStore, number: int) -> FloatArray:
    rng = random.Random(f"heard/{number}")
    before, after = (np.zeros(int(rng.uniform(*s) * SAMPLE_RATE), np.float32) for s in ((0.05, 0.4), (0.3, 0.6)))
    audio = np.concatenate([before, store.audio(number), after])
    return augment(audio, rng) if rng.random() < CHANGED else audio


def transcripts(model: BlockMoonshine, clips: Sequence[FloatArray]) -> list[str]:
    """Greedy transcripts of a batch of clips, filled up with silence."""
    from transformers import DynamicCache, EncoderDecoderCache

    audio, eos = torch.from_numpy(filled_up(clips)), model.vocabulary.eos
    ids, found = torch.full((len(clips), 1), model.start_id), [list[int]() for _ in clips]
    live, cache = [True] * len(clips), EncoderDecoderCache(DynamicCache(), DynamicCache())
    with torch.inference_mode():
        frames = model.encoder.frames.full(audio)
        for _ in range(min(int(audio.shape[1] / SAMPLE_RATE * model.tokens_per_second) + 6, model.positions - 2)):
            states = model.decoder(
                input_ids=ids, encoder_hidden_states=frames, past_key_values=cache, use_cache=True
            ).last_hidden_state
            scores = model.scorer(states[:, -1:])[:, 0].masked_fill(model.suppress, -torch.inf)
            ids = scores.argmax(-1, keepdim=True)
            for row, token in enumerate(ids[:, 0].tolist()):
                live[row] = live[row] and token != eos
                if live[row]:
                    found[row].append(token)
            if not any(live):
                break
    return [model.vocabulary.decode(one).strip() for one in found]


if __name__ == "__main__":
    sys.exit(answered(main))
