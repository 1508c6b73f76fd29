"""Encoders that fairseq2 has saved in a `.pt`: wav2vec 2.0, and w2v-BERT 2.0 as Seamless has it (`conformer_shaw`).

Baevski et al. 2020 (2006.11477), Seamless Communication 2023 (2312.05187). Such a file holds tensors without a
configuration: their names become those of the same network in transformers, their shapes tell the sizes, and a head is
64 wide, as in all that were published. What was trained beside the encoder (quantiser, targets, a recogniser's output)
is left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from simulst.errors import ModelError, first_line

SUFFIX = ".pt"
HEAD_DIM = 64
STRIDES = {10: 5, 3: 2, 2: 2}
"""Width of a convolution over samples to its stride."""
LEFT, RIGHT = 64, 8
"""Relative positions that w2v-BERT 2.0 tells apart before and after an entry."""
MOST_TENSORS = 4_000
FEWEST_PER_LAYER = 16
DROPPED = ("quantizer.", "final_proj.", "final_target_proj.", "final_bert_proj.", "mlm_proj.")

Names = tuple[tuple[str, str], ...]

_FRONT: Names = (
    (r"encoder_frontend\.post_extract_layer_norm\.", "feature_projection.layer_norm."),
    (r"encoder_frontend\.model_dim_proj\.", "feature_projection.projection."),
    (r"masker\.temporal_mask_embed$", "masked_spec_embed"),
)


def _of_layers(*names: tuple[str, str]) -> Names:
    """Names within each layer, which the pattern of a layer stands before."""
    return tuple((rf"encoder\.layers\.(\d+)\.{old}", rf"encoder.layers.\1.{new}") for old, new in names)


WAV2VEC2: Names = (
    *_FRONT,
    (r"encoder_frontend\.feature_extractor\.layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.conv."),
    (
        r"encoder_frontend\.feature_extractor\.layers\.(\d+)\.(?:layer|group)_norm\.",
        r"feature_extractor.conv_layers.\1.layer_norm.",
    ),
    (r"encoder_frontend\.pos_encoder\.conv\.bias$", "encoder.pos_conv_embed.conv.bias"),
    (
        r"encoder_frontend\.pos_encoder\.conv\.weight_g$",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    ),
    (
        r"encoder_frontend\.pos_encoder\.conv\.weight_v$",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    ),
    (r"(?:encoder_frontend|encoder)\.layer_norm\.", "encoder.layer_norm."),
    *_of_layers(
        (r"self_attn\.([qkv])_proj\.", r"attention.\2_proj."),
        (r"self_attn\.output_proj\.", "attention.out_proj."),
        (r"self_attn_layer_norm\.", "layer_norm."),
        (r"ffn\.inner_proj\.", "feed_forward.intermediate_dense."),
        (r"ffn\.output_proj\.", "feed_forward.output_dense."),
        (r"ffn_layer_norm\.", "final_layer_norm."),
    ),
)
W2V_BERT: Names = (
    *_FRONT,
    *_of_layers(
        (r"(ffn[12]|self_attn)_layer_norm\.", r"\2_layer_norm."),
        (r"(ffn[12])\.inner_proj\.", r"\2.intermediate_dense."),
        (r"(ffn[12])\.output_proj\.", r"\2.output_dense."),
        (r"self_attn\.([qkv])_proj\.", r"self_attn.linear_\2."),
        (r"self_attn\.output_proj\.", "self_attn.linear_out."),
        (r"self_attn\.sdpa\.rel_k_embed\.", "self_attn.distance_embedding."),
        (r"conv_layer_norm\.", "conv_module.layer_norm."),
        (r"conv\.layer_norm\.", "conv_module.depthwise_layer_norm."),
        (r"conv\.(pointwise_conv[12]|depthwise_conv)\.", r"conv_module.\2."),
        (r"layer_norm\.", "final_layer_norm."),
    ),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Saved:
    """An encoder as it lies in a file."""

    network: dict[str, object]
    """Its configuration in transformers."""
    tensors: dict[str, Tensor]
    """By their names in transformers; mapped, not read."""
    normalise: bool
    """Whether it was trained on samples of mean 0 and variance 1, as the larger wav2vec 2.0 of fairseq were."""


def is_saved(path: Path) -> bool:
    return path.suffix == SUFFIX and path.is_file()


def read_saved(path: Path) -> Saved:
    """The encoder in a file of fairseq2. ModelError for any other file, and for a network that is not known here."""
    tensors = _tensors(path)
    shaw = any(name.endswith(".self_attn.sdpa.rel_k_embed.weight") for name in tensors)
    named = _renamed(tensors, W2V_BERT if shaw else WAV2VEC2, path)
    try:
        network = _w2v_bert(named) if shaw else _wav2vec2(named, norm_last="encoder.layer_norm.weight" in tensors)
    except (KeyError, ValueError) as error:
        what = f"without {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"{path} holds no encoder of fairseq2 that is known here: {what}.") from error
    return Saved(network=network, tensors=named, normalise=network.get("feat_extract_norm") == "layer")


def _tensors(path: Path) -> dict[str, Tensor]:
    """What the file holds, without running code of it, and never more than it is large."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a damaged or hostile file makes of the reader
        reason = first_line(error).split(". ")[0].rstrip(".")
        raise ModelError(f"{path} cannot be read as tensors of fairseq2: {reason}.") from error
    model = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(model, dict) or not 0 < len(model) <= MOST_TENSORS:
        raise ModelError(f"{path} holds no state of a model; give a checkpoint of fairseq2.")
    found: dict[str, Tensor] = {}
    for name, one in model.items():
        if not isinstance(name, str) or not isinstance(one, Tensor) or one.layout != torch.strided or one.is_meta:
            raise ModelError(f"{path} holds something other than tensors by name; give a checkpoint of fairseq2.")
        found[name.removeprefix("module.")] = one
    if sum(one.numel() * one.element_size() for one in found.values()) > path.stat().st_size:
        raise ModelError(f"{path} claims tensors that are larger than the file.")
    return found


def _renamed(tensors: Mapping[str, Tensor], names: Names, path: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, one in tensors.items():
        if name.startswith(DROPPED):
            continue
        made = next((re.sub(f"^{old}", new, name) for old, new in names if re.match(old, name)), None)
        if made is None or made in found or not one.is_floating_point():
            raise ModelError(f"{path} holds {name[:80]!r}, which neither wav2vec 2.0 nor w2v-BERT 2.0 of fairseq2 has.")
        found[made] = one
    return found


def _shape(named: Mapping[str, Tensor], name: str, dims: int) -> tuple[int, ...]:
    one = named[name]
    if one.dim() != dims or not one.numel():
        raise ValueError(f"{name} has the shape {tuple(one.shape)}")
    return tuple(one.shape)


def _sizes(named: Mapping[str, Tensor], inner: str) -> dict[str, object]:
    """What both have; `inner` is the first matrix of a feed-forward layer."""
    (width,) = _shape(named, "feature_projection.projection.bias", 1)
    if width % HEAD_DIM:
        raise ValueError(f"a width of {width} is no multiple of {HEAD_DIM}, which its heads have")
    layers = {int(found[1]) for name in named if (found := re.match(r"encoder\.layers\.(\d{1,4})\.", name))}
    if layers != set(range(len(layers))) or FEWEST_PER_LAYER * len(layers) > len(named):
        raise ValueError("layers are missing")
    return {
        "hidden_size": width,
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // HEAD_DIM,
        "intermediate_size": _shape(named, inner, 2)[0],
        "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
        "add_adapter": False,
    }


def _wav2vec2(named: Mapping[str, Tensor], *, norm_last: bool) -> dict[str, object]:
    count = sum(bool(re.fullmatch(r"feature_extractor\.conv_layers\.\d+\.conv\.weight", name)) for name in named)
    convs = [_shape(named, f"feature_extractor.conv_layers.{layer}.conv.weight", 3) for layer in range(count)]
    kernels = [kernel for _, _, kernel in convs]
    if not convs or not STRIDES.keys() >= set(kernels):
        raise ValueError("its convolutions over samples are not those of wav2vec 2.0")
    out, group, width = _shape(named, "encoder.pos_conv_embed.conv.parametrizations.weight.original1", 3)
    large = f"feature_extractor.conv_layers.{count - 1}.layer_norm.weight" in named
    sizes = _sizes(named, "encoder.layers.0.feed_forward.intermediate_dense.weight")
    return sizes | {
        "model_type": "wav2vec2",
        "conv_dim": [made for made, _, _ in convs],
        "conv_kernel": kernels,
        "conv_stride": [STRIDES[kernel] for kernel in kernels],
        "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in named,
        "num_feat_extract_layers": count,
        "feat_extract_norm": "layer" if large else "group",
        "do_stable_layer_norm": norm_last,
        "num_conv_pos_embeddings": width,
        "num_conv_pos_embedding_groups": out // group,
    }


def _w2v_bert(named: Mapping[str, Tensor]) -> dict[str, object]:
    distances = _shape(named, "encoder.layers.0.self_attn.distance_embedding.weight", 2)
    if distances != (LEFT + 1 + RIGHT, HEAD_DIM):
        raise ValueError(f"relative positions of shape {distances}")
    sizes = _sizes(named, "encoder.layers.0.ffn1.intermediate_dense.weight")
    return sizes | {
        "model_type": "wav2vec2-bert",
        "feature_projection_input_dim": _shape(named, "feature_projection.layer_norm.weight", 1)[0],
        "position_embeddings_type": "relative_key",
        "left_max_position_embeddings": LEFT,
        "right_max_position_embeddings": RIGHT,
        "conv_depthwise_kernel_size": _shape(named, "encoder.layers.0.conv_module.depthwise_conv.weight", 3)[2],
        "output_hidden_size": sizes["hidden_size"],
    }
