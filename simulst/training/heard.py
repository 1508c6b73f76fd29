"""What CTC hears of speech vectors, without a decoder: its most probable path, and how many words of it are wrong."""

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.models.speech_llm.network import SpeechLLM
from simulst.training.pieces import Pieces


@torch.no_grad()
def words_heard(model: SpeechLLM, stacked: Tensor, vocabulary: Pieces, blank: int) -> str:
    """Text of the most probable CTC path through stacked frames [count, stack * D] of one clip."""
    columns = model.embed(torch.arange(int(model.config.decoder["vocab_size"]), device=model.device))
    projected = model.projector(stacked.to(model.device).float())
    path = F.linear(projected, columns.to(projected.dtype)).argmax(-1).tolist()
    return vocabulary.decode([token for token, _ in groupby(path) if token != blank])


def words_of(text: str) -> list[str]:
    """Words in small letters, without punctuation."""
    return re.findall(r"\w+(?:['’]\w+)*", text.lower())


def word_error_rate(heard: Sequence[str], said: Sequence[str]) -> float:
    """Words left out, put in or replaced, in % of those that were said."""
    pairs = [(words_of(one), words_of(other)) for one, other in zip(heard, said, strict=True)]
    return 100 * sum(_errors(*pair) for pair in pairs) / max(1, sum(len(words) for _, words in pairs))


def _errors(heard: list[str], said: list[str]) -> int:
    place = np.arange(len(heard) + 1)
    found, row = np.array(heard, dtype=object), place
    for count, word in enumerate(said, 1):
        kept = np.minimum(row[1:] + 1, row[:-1] + (found != word))
        row = np.minimum.accumulate(np.concatenate(([count], kept)) - place) + place
    return int(row[-1])
