"""Wait-k on group positions (2505.16983): the same rule, on a model that decodes nothing twice."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from simulst.core.settings import setting
from simulst.core.translator import Evidence
from simulst.policies.wait_k import WaitK


@dataclass(frozen=True, kw_only=True)
class GpeWaitK(WaitK):
    """Read k source words, then write one target word for each further one, source and target counted apart.

    What was written stays cached: a step feeds the new speech, the last committed token and the new word.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.GROUPED})
    paper: ClassVar[str] = "Tong et al. 2025 (2505.16983)"

    k: int = setting(5, "source words to stay behind", unit="words", at_least=1, published="1, 3, 5, 7, 9, 11")
    words: Literal["fixed", "adaptive"] = setting(
        "adaptive", "how source words are counted: by the clock or by the model's CTC", published="adaptive"
    )
