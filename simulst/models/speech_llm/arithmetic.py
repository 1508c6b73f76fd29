"""With what numbers and by which kernels the layers of a speech LLM compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor, nn

from simulst.models.int8 import Int8Conv1d, Int8Linear
from simulst.models.kernels import Bfloat16Linear, Kernel, OneDnnLinear, bfloat16_gains, chosen, plain, replace_layers
from simulst.models.speech_llm.encoder import BlockCausalEncoder
from simulst.models.speech_llm.network import SpeechLLM
from simulst.models.speech_llm.streaming_encoder import StreamingEncoder


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Applied to a model once its weights are there.

    `int8` is for the layers that gain by it and lose no words: those of the encoder's transformer lose some, and
    compute in bfloat16 (`short_encoder`) instead where that is quick.
    """

    int8: bool = False
    kernel: Kernel = "plain"
    short_encoder: bool = False

    def applied(self, model: SpeechLLM, others: Sequence[nn.Module] = ()) -> None:
        """Replace the layers of a model, and those of modules that share its decoder's weights."""
        self.applied_to_encoder(model.encoder, model.config.encoder.pass_frames)
        if self.int8 or self.kernel == "onednn":
            for module in (model.decoder, *others):
                replace_layers(module, self.layer)
        if self.int8:
            replace_layers(model.projector, self.layer)

    def applied_to_encoder(self, encoder: StreamingEncoder, pass_frames: int) -> None:
        """Replace the layers of an encoder through which so many frames go at once."""
        if self.short_encoder:
            replace_layers(encoder, Bfloat16Linear)
        elif self.kernel == "onednn":
            replace_layers(encoder, partial(OneDnnLinear, exact=pass_frames))
        if self.int8 and isinstance(encoder, BlockCausalEncoder):
            encoder.set_submodule("conv2", Int8Conv1d(encoder.conv2))

    @classmethod
    def chosen(cls, kernel: Literal["auto"] | Kernel, *, int8: bool, like: Tensor) -> "Arithmetic":
        """With the kernel that is asked for, or the quickest, for weights such as `like`."""
        short = int8 and kernel == "auto" and bfloat16_gains()
        return cls(int8=int8, kernel=chosen(kernel, like), short_encoder=short)

    def layer(self, weight: Tensor, bias: Tensor | None = None) -> nn.Module:
        """A linear layer of the decoder."""
        if self.int8:
            return Int8Linear(weight, bias)
        return OneDnnLinear(weight, bias) if self.kernel == "onednn" else plain(weight, bias)
