"""Training with group position encoding (2505.16983): who sees what, and which position every entry has.

A sequence is `<sp> v1 .. vk <de> y1 .. yn </s>` as in the batch layout. Source entries count 0, 1, ... and see earlier
source only; target entries count `phi`, `phi` + 1, ... and see earlier target and as much source as there will be when
the token after them is predicted. The visibility that belongs to predicting a token therefore stands in the row of the
token *before* it.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor


def wait_k_words(k: int, word: int, words: int) -> int:
    """Source words in sight when target word `word` (1, 2, ...; 0: the mark before the first) is predicted."""
    return min(max(0, k + word - 1), words)


def positions(source: int, target: int, *, phi: int = 0) -> Tensor:
    """Position ids [source + target] of the two groups."""
    return torch.cat((torch.arange(source), torch.arange(phi, phi + target)))


def visibility(source: int, visible: Sequence[int]) -> Tensor:
    """Bool [entries, entries]: which entry (column) each entry (row) attends to.

    `visible[r]` is how many of the `source` entries target row r sees, prompt included.
    """
    target = len(visible)
    allowed = torch.zeros(source + target, source + target, dtype=torch.bool)
    allowed[:source, :source] = torch.ones(source, source, dtype=torch.bool).tril()
    allowed[source:, source:] = torch.ones(target, target, dtype=torch.bool).tril()
    allowed[source:, :source] = torch.arange(source) < torch.tensor(list(visible), dtype=torch.long)[:, None]
    return allowed


def rows_of_words(target_words: Sequence[int], seen_by_word: Sequence[int], everything: int) -> list[int]:
    """Visible source entries of every target row: the mark, then each token.

    `target_words[t]` is the word (0, 1, ...) of token t, `seen_by_word[w]` the source entries in sight when word w is
    written. The last row, which predicts the end, sees everything.
    """
    return [*(seen_by_word[word] for word in target_words), everything]


def schedule(
    word_ends: Sequence[int], target_words: int, source: int, rng: random.Random, *, slack: int = 7
) -> list[int]:
    """Source entries in sight at each target word of a random wait-k run: k of 1 to 12, prompt entry included.

    `word_ends` are the vectors after which each source word is over. Audio comes in blocks, so a little more than the
    words that count is heard: up to `slack` vectors.
    """
    k = rng.choice((1, 2, 3, 4, 5, 7, 9, 12))
    seen, extra = list[int](), rng.randint(0, slack)
    for word in range(1, target_words + 1):
        count = wait_k_words(k, word, len(word_ends))
        heard = source - 1 if count == len(word_ends) else word_ends[count - 1] + extra
        seen.append(max(seen[-1] if seen else 1, min(source, 1 + heard)))
    return seen


def aligned(needed: Sequence[int], source: int, rng: random.Random, *, slack: int = 7) -> list[int]:
    """Source entries in sight when a target word comes some vectors after what it needs: up to five blocks later."""
    seen, extra = list[int](), rng.randint(0, 5 * slack)
    for one in needed:
        seen.append(max(seen[-1] if seen else 1, min(source, 1 + one + rng.randint(0, slack) + extra)))
    return seen
