"""What is trained of a pretrained decoder: low-rank additions to some layers (LoRA, arXiv 2106.09685), and the rows of
new marks in its embeddings and its output layer. `merge` makes a plain decoder of it again."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulst.core.settings import setting
from simulst.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank additions to linear layers of the decoder."""

    rank: int = setting(16, "width of the addition", at_least=1, at_most=1024)
    alpha: float = setting(32.0, "the addition is scaled by alpha / rank", above=0)
    layers: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Names of the linear layers, the same in every layer of the decoder."""


class LowRankLinear(nn.Module):
    """A frozen linear layer and the trained product of two narrow ones beside it."""

    def __init__(self, base: nn.Linear, config: LoraConfig) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), config.alpha / config.rank
        device = base.weight.device
        self.down = nn.Parameter(torch.empty(config.rank, base.in_features, device=device))
        self.up = nn.Parameter(torch.zeros(base.out_features, config.rank, device=device))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        added = F.linear(F.linear(x, self.down), self.up)
        whole: Tensor = self.base(x) + added * self.scale
        return whole

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with the addition in its weights."""
        weight = self.base.weight
        weight.copy_(weight.float() + self.scale * (self.up @ self.down))
        return self.base


class MarkedEmbedding(nn.Module):
    """Frozen token embeddings in which the rows of marks, `first` and those after it, are trained."""

    def __init__(self, base: nn.Embedding, first: int, count: int) -> None:
        super().__init__()
        self.base, self.first = base.requires_grad_(False), first
        self.rows = nn.Parameter(base.weight[first : first + count].detach().float().clone())

    @property
    def weight(self) -> Tensor:
        """Embeddings of all tokens [V, width], made anew at each call because those of marks change."""
        with torch.no_grad():
            return _with_rows(self.base.weight.float(), self.rows, self.first, dim=0)

    def forward(self, ids: Tensor) -> Tensor:
        at = ids - self.first
        marked = (at >= 0) & (at < len(self.rows))
        rows = F.embedding(at.clamp(0, len(self.rows) - 1), self.rows)
        return torch.where(marked[..., None], rows, self.base(ids).float())


class MarkedOutput(nn.Module):
    """A frozen output layer in which the rows of marks are trained; they are the embeddings' rows where it is tied."""

    def __init__(self, base: nn.Linear, embedding: MarkedEmbedding, *, tied: bool) -> None:
        super().__init__()
        self.base, self.embedding, self.tied = base.requires_grad_(False), embedding, tied
        if not tied:
            rows = base.weight[embedding.first : embedding.first + len(embedding.rows)]
            self.own = nn.Parameter(rows.detach().float().clone())

    @property
    def rows(self) -> nn.Parameter:
        return self.embedding.rows if self.tied else self.own

    def forward(self, hidden: Tensor) -> Tensor:
        return _with_rows(self.base(hidden), F.linear(hidden, self.rows), self.embedding.first, dim=-1)


def _with_rows(whole: Tensor, rows: Tensor, first: int, *, dim: int) -> Tensor:
    """`whole` with some of its rows (or columns) in place of its own."""
    after = first + rows.shape[dim]
    left, right = whole.narrow(dim, 0, first), whole.narrow(dim, after, whole.shape[dim] - after)
    return torch.cat((left, rows.to(whole.dtype), right), dim)


def adapt(decoder: "PreTrainedModel", *, first: int, marks: int, lora: LoraConfig | None) -> None:
    """Freeze a decoder but for the rows of `marks` tokens from `first` on, and additions to its layers.

    Raises ModelError where it has no layers of the names that `lora` gives.
    """
    decoder.requires_grad_(False)
    if lora is not None:
        _replace(decoder, lora)
    embedding = MarkedEmbedding(decoder.get_input_embeddings(), first, marks)
    tied = bool(decoder.config.tie_word_embeddings)
    output = MarkedOutput(decoder.get_output_embeddings(), embedding, tied=tied)
    decoder.set_input_embeddings(embedding)
    decoder.set_output_embeddings(output)


def _replace(decoder: "PreTrainedModel", lora: LoraConfig) -> None:
    places = [name for name, one in decoder.named_modules() if isinstance(one, nn.Linear)]
    for wanted in lora.layers:
        if not any(name.rpartition(".")[2] == wanted for name in places):
            known = sorted({name.rpartition(".")[2] for name in places})
            raise ModelError(f"The decoder has no linear layers named {wanted!r} for LoRA; it has {', '.join(known)}.")
    for name in places:
        if name.rpartition(".")[2] in lora.layers:
            decoder.set_submodule(name, LowRankLinear(decoder.get_submodule(name), lora))


@torch.no_grad()
def merge(decoder: "PreTrainedModel") -> None:
    """Make a plain decoder of an adapted one; any other stays as it is."""
    for name, module in list(decoder.named_modules()):
        if isinstance(module, LowRankLinear):
            decoder.set_submodule(name, module.merged())
    embedding, output = decoder.get_input_embeddings(), decoder.get_output_embeddings()
    if not isinstance(embedding, MarkedEmbedding):
        return
    first, after = embedding.first, embedding.first + len(embedding.rows)
    embedding.base.weight[first:after] = embedding.rows.to(embedding.base.weight.dtype)
    output.base.weight[first:after] = output.rows.to(output.base.weight.dtype)
    if output.base.bias is not None:
        output.base.bias[first:after] = 0
    decoder.set_input_embeddings(embedding.base)
    decoder.set_output_embeddings(output.base)
    decoder.tie_weights()


def added(decoder: "PreTrainedModel") -> dict[str, Tensor]:
    """What an adapted decoder has besides the weights of its base, by name."""
    found = decoder.named_parameters()
    return {name: one.detach() for name, one in found if name.rpartition(".")[2] in ("down", "up", "rows", "own")}


def is_adapted(decoder: "PreTrainedModel") -> bool:
    """Whether only a part of the decoder is trained."""
    return isinstance(decoder.get_input_embeddings(), MarkedEmbedding)
