"""The output layer of a causal language model: what turns hidden states into scores of tokens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from simulst.models import onednn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class OutputLayer:
    """Weight [V, width] and bias; where a model ties the two (small ones do), the weight is the token embeddings'."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, decoder: "PreTrainedModel") -> "OutputLayer":
        """The layer of a causal language model of transformers."""
        if decoder.config.tie_word_embeddings:
            return cls(decoder.get_input_embeddings().weight, None)
        layer = decoder.get_output_embeddings()
        return cls(layer.weight, layer.bias)

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores [..., V] after hidden states [..., width]."""
        return F.linear(hidden, self.weight, self.bias)

    def scores_of_many(self, hidden: Tensor) -> Tensor:
        """Scores without gradients, computed in a way that is fast for many rows."""
        return onednn.linear(hidden, self.weight, self.bias)

    def scores_of(self, hidden: Tensor, tokens: list[int]) -> Tensor:
        """Scores of some tokens only."""
        return F.linear(hidden, self.weight[tokens], None if self.bias is None else self.bias[tokens])
