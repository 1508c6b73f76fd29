"""Moonshine's encoder weights (Hugging Face names) under the names of `BlockCausalEncoder`."""

from pathlib import Path

from torch import Tensor

from simulst.errors import ModelError
from simulst.models.speech_llm.encoder import BlockCausalConfig, BlockCausalEncoder

_RENAMED = {
    "self_attn.o_proj": "self_attn.output_proj",
    "input_layernorm": "self_attn_layer_norm",
    "post_attention_layernorm": "ffn_layer_norm",
    "mlp.fc1": "ffn.inner_proj",
    "mlp.fc2": "ffn.output_proj",
    "groupnorm": "norm",
}


def convert_encoder(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of a `BlockCausalEncoder` from the tensors of a `MoonshineForConditionalGeneration`."""
    prefix, converted = "model.encoder.", {}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            for old, new in _RENAMED.items():
                name = name.replace(old, new)
            converted[name] = tensor
    return converted


def load_moonshine_encoder(folder: Path, config: BlockCausalConfig | None = None) -> BlockCausalEncoder:
    """The encoder of a local Moonshine checkpoint (`model.safetensors`), not fine-tuned for streaming."""
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    if not path.is_file():
        raise ModelError(f"{folder} holds no model.safetensors; give the folder of a Moonshine checkpoint.")
    encoder = BlockCausalEncoder(config or BlockCausalConfig())
    try:
        encoder.load_state_dict(convert_encoder(load_file(path)), strict=True)
    except RuntimeError as error:
        raise ModelError(f"{folder} is not of the shape of Moonshine tiny, whose encoder is taken.") from error
    return encoder.eval()
