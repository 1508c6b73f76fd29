"""With what numbers and by which kernels the layers of a speech LLM compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from simulst.models.int8 import Int8Conv1d, Int8Linear
from simulst.models.kernels import Bfloat16Linear, Kernel, OneDnnLinear, plain, replace_layers
from simulst.models.speech_llm.encoder import BlockCausalEncoder
from simulst.models.speech_llm.network import SpeechLLM


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
        if self.short_encoder:
            replace_layers(model.encoder, Bfloat16Linear)
        elif self.kernel == "onednn":
            replace_layers(model.encoder, partial(OneDnnLinear, exact=model.config.encoder.pass_frames))
        if self.int8 or self.kernel == "onednn":
            for module in (model.decoder, *others):
                replace_layers(module, self.layer)
        if self.int8:
            replace_layers(model.projector, self.layer)
            if isinstance(model.encoder, BlockCausalEncoder):
                model.encoder.set_submodule("conv2", Int8Conv1d(model.encoder.conv2))

    def layer(self, weight: Tensor, bias: Tensor | None = None) -> nn.Module:
        """A linear layer of the decoder."""
        if self.int8:
            return Int8Linear(weight, bias)
        return OneDnnLinear(weight, bias) if self.kernel == "onednn" else plain(weight, bias)
