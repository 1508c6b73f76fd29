"""What a transducer on a frozen decoder is trained on: its states after every block of a clip and every label.

The labels are the decoder's own translation of the whole clip. The decoder is run once; what it gave is kept on disk.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from simulst.errors import DataError
from simulst.models.decoding import Rules, greedy
from simulst.models.speech_llm.cache import StreamCache, Tally
from simulst.models.speech_llm.contexts import BatchContext, Rows
from simulst.models.speech_llm.weights import Weights
from simulst.outputs import whole_file
from simulst.training.features import Talk, read_talks
from simulst.training.samples import open_vectors

MOST_SENTENCES = 3
SHORTEST = 4
"""Tokens of a translation that is worth learning from."""
TOKENS_PER_VECTOR = 0.5
SPARE_TOKENS = 20
SHARD = 50
"""Lattices a file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lattice:
    """One clip of T blocks and U labels."""

    states: Tensor
    """The decoder's, which predict the next label, [T, U + 1, width], float16."""
    speech: Tensor
    """Mean speech vector of each block, [T, width], float16."""
    ids: Tensor
    """[U]"""
    own: Tensor
    """Log-probability of each label by the decoder alone, [T, U]."""
    heard_s: Tensor
    """[T]"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How many lattices, of which runs."""

    count: int
    seed: int = 0
    minutes: float = 60.0
    longest_s: float = 12.0


Score = Callable[[Tensor], Tensor]
"""States [.., width] -> log-probabilities of the tokens that may be written, [.., V]."""
NewCache = Callable[[Tally], StreamCache]
"""`Compute.new_cache`."""


class Talks:
    """The speech vectors of a recipe's stage `features`; DataError where there are none."""

    def __init__(self, folder: Path, weights: Weights) -> None:
        self.weights, self.talks = weights, read_talks(folder)
        if not self.talks:
            raise DataError(f"{folder} holds no speech vectors; run the stage features first.")
        config = weights.model.config
        self._vectors = open_vectors(folder, config.stack * config.encoder.model_dim)

    def runs(self, *, seed: int, most: int) -> Iterator[Tensor]:
        """Beginnings of talks of one to three sentences, at most `most` vectors, projected [n, width]."""
        rng = random.Random(seed)
        fitting = [talk for talk in self.talks if _end(talk, 1, most)]
        if not fitting:
            raise DataError("[transducer] longest_s is shorter than the first sentence of every talk; raise it.")
        while True:
            talk = rng.choice(fitting)
            end = _end(talk, rng.randint(1, MOST_SENTENCES), most)
            yield self._projected(talk.first, talk.first + end)

    def _projected(self, begin: int, end: int) -> Tensor:
        model = self.weights.model
        stored = torch.from_numpy(self._vectors[begin:end].copy()).view(torch.bfloat16)
        with torch.inference_mode():
            vectors: Tensor = model.projector(stored.to(model.embeddings.dtype))
        return vectors


def _end(talk: Talk, sentences: int, most: int) -> int:
    """Where a run of at most so many first sentences ends, before the next one; 0 where not one fits."""
    starts = [int(start) for _, start, _ in talk.sentences[1:]]
    return max((end for end in (*starts, talk.count)[:sentences] if end <= most), default=0)


def lattice_of(weights: Weights, cache: StreamCache, vectors: Tensor) -> Lattice | None:
    """The decoder's own translation of a run, forced after each block; None where it says next to nothing."""
    ids = _translation(weights, cache, vectors)
    if len(ids) < SHORTEST:
        return None
    cache.crop(0)
    cache.extend(weights.embed([weights.speech_mark]))
    text = weights.embed([weights.target_mark, *ids])
    states, speech = list[Tensor](), list[Tensor]()
    for block in torch.split(vectors, weights.block_vectors):
        cache.extend(block)
        heard = len(cache)
        states.append(cache.extend(text).hidden.half())
        speech.append(block.mean(dim=0).half())
        cache.crop(heard)
    own = own_scores(label_scores(weights), torch.stack(states), torch.tensor(ids))
    ends = torch.arange(1, len(states) + 1) * weights.block_vectors
    heard_s = ends.clamp(max=len(vectors)) * weights.frame_s
    return Lattice(
        states=torch.stack(states), speech=torch.stack(speech), ids=torch.tensor(ids), own=own, heard_s=heard_s
    )


def label_scores(weights: Weights) -> Score:
    """What the output layer says of tokens that may be written; an end is none, blank stands for it."""
    forbidden, dtype = weights.suppress_in_labels, weights.model.embeddings.dtype

    def score(states: Tensor) -> Tensor:
        scores = weights.model.output.scores(states.to(dtype))
        return scores.float().masked_fill(forbidden, -torch.inf).log_softmax(-1)

    return score


def own_scores(score: Score, states: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of each label after states [T, U + 1, width], [T, U]."""
    with torch.inference_mode():
        return score(states[:, :-1]).gather(2, ids.expand(len(states), -1)[..., None])[..., 0]


def _translation(weights: Weights, cache: StreamCache, vectors: Tensor) -> tuple[int, ...]:
    cache.crop(0)
    run, step, _ = BatchContext(weights, cache).begin(vectors, 0, (), Rows(wanted=False, every_head=False))
    rules = Rules(
        eos=weights.vocabulary.eos,
        max_new=int(TOKENS_PER_VECTOR * len(vectors)) + SPARE_TOKENS,
        suppress=weights.suppress,
        no_repeat_ngram=weights.options.no_repeat_ngram,
    )
    return greedy(run, step, rules).ids


def collect(talks: Talks, new_cache: NewCache, folder: Path, wanted: Wanted) -> list[Lattice]:
    """Lattices of runs, fewer when the minutes are over; what is in the folder is not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    found, began, made = list[Lattice](), time.monotonic(), 0
    for number in range(-(-wanted.count // SHARD)):
        path, count = folder / f"lattices-{number:04}.safetensors", min(SHARD, wanted.count - number * SHARD)
        if path.is_file():
            found += read_lattices(path)
            continue
        runs = talks.runs(seed=1000 * wanted.seed + number, most=int(wanted.longest_s / talks.weights.frame_s))
        left_s = 60 * wanted.minutes - (time.monotonic() - began)
        shard = list(_made(talks.weights, new_cache(Tally()), runs, count, left_s))
        if not shard:
            break
        write_lattices(shard, path)
        found, made = found + shard, made + len(shard)
        print(f"{len(found)}/{wanted.count} runs, {made / (time.monotonic() - began):.1f} a second", flush=True)
    return found


def _made(weights: Weights, cache: StreamCache, runs: Iterator[Tensor], count: int, left_s: float) -> Iterator[Lattice]:
    """Lattices of `count` runs, fewer when the seconds are over."""
    began, made = time.monotonic(), 0
    for vectors in runs:
        if made == count or time.monotonic() - began > left_s:
            return
        lattice = lattice_of(weights, cache, vectors)
        if lattice is not None:
            made += 1
            yield lattice


def write_lattices(lattices: list[Lattice], path: Path) -> None:
    """Write a file that is whole or not there."""
    from safetensors.torch import save_file

    tensors = {f"{i:02}.{name}": one for i, lattice in enumerate(lattices) for name, one in vars(lattice).items()}
    with whole_file(path) as file:
        save_file({name: one.contiguous() for name, one in tensors.items()}, file)


def read_lattices(path: Path) -> list[Lattice]:
    """The lattices of a file."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    count = sum(name.endswith(".ids") for name in tensors)
    names = ("states", "speech", "ids", "own", "heard_s")
    return [Lattice(**{name: tensors[f"{i:02}.{name}"] for name in names}) for i in range(count)]
