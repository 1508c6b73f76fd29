"""Write what the bundled recogniser hears of a recipe's spoken sentences, beside their translations.

python examples/make_heard.py recipe.toml heard.tsv

A text model behind a recogniser reads wrong words and missing marks. `heard.tsv` is one more file of `[[data.more]]`
for the stage `text`; `plain.tsv` beside it has correct sentences of the recipe without capitals and marks. It needs
what the stage `speech` made. Sentences of which more than half was misheard are left out.
"""

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from word_errors import errors, words_of

from simulst import load_model
from simulst.audio.samples import SAMPLE_RATE
from simulst.core.source import FloatArray
from simulst.models.seq2seq.moonshine import BlockMoonshine
from simulst.training.recipe import Recipe, read_recipe
from simulst.training.speech import SpeechStore, augment

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
    recipe, rng = read_recipe(given.recipe), random.Random(1)
    sentences = {k: one for part, own in recipe.sentences() for k, one in enumerate(own.items(), part.first)}
    with given.out.open("w", encoding="utf-8") as out:
        for number, heard in hear(recipe):
            said, translations = sentences[number]
            if heard and 2 * errors(words_of(heard.lower()), words_of(said.lower())) <= len(words_of(said)):
                for one in rng.sample(translations, min(TRANSLATIONS, len(translations))):
                    lines = [heard, bare(heard)] if rng.random() < BARE else [heard]
                    out.writelines(f"{line}\t{one}\n" for line in lines)
                out.flush()
    chosen = rng.sample(sorted(sentences), min(PLAIN, len(sentences)))
    plain = [f"{bare(sentences[k][0])}\t{rng.choice(sentences[k][1])}\n" for k in chosen if bare(sentences[k][0])]
    given.out.with_name("plain.tsv").write_text("".join(plain), encoding="utf-8")


def bare(text: str) -> str:
    """Without capitals and marks."""
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower()).split())


def hear(recipe: Recipe) -> Iterator[tuple[int, str]]:
    """(number of the sentence, what the recogniser says) of every clip, most of them with noise and rooms."""
    store, model = SpeechStore(recipe.folder / "speech"), load_model("tiny-en", dtype="int8")
    assert isinstance(model, BlockMoonshine)
    for first in range(0, len(store), AT_ONCE):
        window = [(k, _clip(store, k)) for k in range(first, min(first + AT_ONCE, len(store)))]
        window = sorted((one for one in window if len(one[1]) < LONGEST_S * SAMPLE_RATE), key=lambda one: len(one[1]))
        while window:
            batch = [window.pop()]
            longest = len(batch[0][1])
            while window and (len(batch) + 1) * longest < BATCH_S * SAMPLE_RATE:
                batch.append(window.pop())
            for (k, _), text in zip(batch, transcripts(model, [audio for _, audio in batch]), strict=True):
                yield store.clips[k].sentence, text
        print(f"{min(first + AT_ONCE, len(store))}/{len(store)} clips", flush=True)


def _clip(store: SpeechStore, number: int) -> FloatArray:
    rng = random.Random(f"heard/{number}")
    before, after = (np.zeros(int(rng.uniform(*s) * SAMPLE_RATE), np.float32) for s in ((0.05, 0.4), (0.3, 0.6)))
    audio = np.concatenate([before, store.audio(number), after])
    return augment(audio, rng) if rng.random() < CHANGED else audio


def transcripts(model: BlockMoonshine, clips: Sequence[FloatArray]) -> list[str]:
    """Greedy transcripts of a batch of clips, filled up with silence."""
    from transformers import DynamicCache, EncoderDecoderCache

    longest, eos = max(map(len, clips)), model.vocabulary.eos
    audio = torch.from_numpy(np.stack([np.pad(one, (0, longest - len(one))) for one in clips]))
    ids, found = torch.full((len(clips), 1), model.start_id), [list[int]() for _ in clips]
    live, cache = [True] * len(clips), EncoderDecoderCache(DynamicCache(), DynamicCache())
    with torch.inference_mode():
        frames = model.encoder.frames.full(audio)
        for _ in range(min(int(longest / SAMPLE_RATE * model.tokens_per_second) + 6, model.positions - 2)):
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
    main()
