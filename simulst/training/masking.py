"""Speech vectors that training hides, so that the decoder does not learn recordings by heart (SpecAugment, 1904.08779).

Vectors are computed once and each is seen in many steps. Runs of them are set to zero, others in every step; what was
said there has to come from the words around it, and CTC has to come without it.
"""

import random
from dataclasses import dataclass, replace

from simulst.core.settings import setting
from simulst.training.batch import Batch


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """How much of the speech is hidden, and in runs of which length."""

    share: float = setting(
        0.0, "of the speech vectors of a step that are hidden, about; 0: none", at_least=0, at_most=0.9
    )
    longest_vectors: int = setting(4, "longest hidden run (a vector: 96 ms); the shortest is 1", at_least=1)


def masked(batch: Batch, config: MaskConfig, rng: random.Random) -> Batch:
    """The batch with runs of its speech vectors set to zero, or itself where nothing is to be hidden.

    Runs may overlap, so at most `share` of the vectors are hidden.
    """
    total = len(batch.stacked)
    if not config.share or not total:
        return batch
    stacked, left = batch.stacked.clone(), round(config.share * total)
    while left > 0:
        length = min(left, rng.randint(1, config.longest_vectors))
        first = rng.randrange(max(1, total - length + 1))
        stacked[first : first + length] = 0
        left -= length
    return replace(batch, stacked=stacked)
