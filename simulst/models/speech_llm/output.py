"""The output layer of a causal language model: what turns hidden states into scores of tokens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class OutputLayer:
    """The layer as the decoder has it, [.., width] -> [.., V], and its weight and bias where they are numbers to choose
    from; where a model ties the two (small ones do), the weight is the token embeddings'."""

    layer: nn.Module
    weight: Tensor | None
    bias: Tensor | None

    @classmethod
    def of(cls, decoder: "PreTrainedModel") -> "OutputLayer":
        """The layer of a causal language model of transformers."""
        layer = decoder.get_output_embeddings()
        if decoder.config.tie_word_embeddings:
            return cls(layer, decoder.get_input_embeddings().weight, None)
        known = dict(layer.named_parameters())
        return cls(layer, known.get("weight"), known.get("bias"))

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores [..., V] after hidden states [..., width]."""
        found: Tensor = self.layer(hidden)
        return found

    def scores_of(self, hidden: Tensor, tokens: list[int]) -> Tensor:
        """Scores of some tokens only."""
        if self.weight is None:
            return self.scores(hidden)[..., tokens]
        return F.linear(hidden, self.weight[tokens], None if self.bias is None else self.bias[tokens])
