"""The speech LLM: block-causal encoder -> projector -> causal language model, and its folder on disk.

A sequence is ``<sp> v1 .. vk <de> y1 .. yn </s>``: speech vectors (stacked encoder frames through the projector) take
the place of token embeddings. ``<en>`` in place of ``<de>`` asks for a transcript; ``<en> x .. <de> y ..`` translates
text. The projector's output is also scored against the token embeddings by CTC, which gives the source words heard.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from simulst.errors import ModelError
from simulst.models.speech_llm.adapted import added, is_adapted, merge
from simulst.models.speech_llm.base import Base, find_base, load_adapted
from simulst.models.speech_llm.description import check_description
from simulst.models.speech_llm.encoder import BlockCausalConfig, BlockCausalEncoder
from simulst.models.speech_llm.output import OutputLayer
from simulst.models.speech_llm.sliding import NETWORK as SLIDING
from simulst.models.speech_llm.sliding import SlidingConfig, SlidingStreamingEncoder
from simulst.models.speech_llm.streaming_encoder import StreamingEncoder
from simulst.models.speech_llm.text_weights import with_text_weights
from simulst.models.speech_llm.windowed import WindowedConfig, WindowedEncoder
from simulst.models.stored import load_tensors, rounded, save_tensors
from simulst.outputs import write_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OUTPUT_WEIGHT = "decoder.lm_head.weight"

EncoderConfig = BlockCausalConfig | SlidingConfig | WindowedConfig

FORMAT = "simulst-speech-llm-1"


@dataclass(frozen=True, kw_only=True)
class SpeechLLMConfig:
    """What `simulst.json` holds: encoder sizes, projector, the decoder's Hugging Face configuration, marks."""

    encoder: EncoderConfig = field(default_factory=BlockCausalConfig)
    stack: int = 4
    """Encoder frames per speech vector."""
    projector_dim: int = 640
    decoder: dict[str, Any] = field(default_factory=dict)
    languages: dict[str, str] = field(default_factory=lambda: {"en": "<en>", "de": "<de>"})
    source: str = "en"
    target: str = "de"
    max_source_s: float = 24.0
    tasks: tuple[str, ...] = ()
    """What else it was trained on: `read_write` and `turns` (its own READ and WRITE tokens), `grouped` positions,
    `chain` (a transcript before the translation), `joint` (both in one text)."""
    base: Base | None = None
    """The pretrained decoder that an adapter rests on; None where all weights are stored."""

    @property
    def frame_s(self) -> float:
        """Seconds per speech vector."""
        return self.stack * self.encoder.frame_s

    @property
    def reads_and_writes(self) -> bool:
        """Whether it was trained on READ and WRITE tokens of its own."""
        return bool({"read_write", "turns", "joint"} & set(self.tasks))

    def to_dict(self) -> dict[str, Any]:
        values = {"format": FORMAT, **asdict(self)}
        if self.base is None:
            del values["base"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SpeechLLMConfig":
        values = dict(values)
        if (version := values.pop("format", None)) != FORMAT:
            raise ModelError(f"simulst.json names the format {version!r}; this version reads {FORMAT!r}.")
        check_description(values)
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ModelError(f"simulst.json: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}.")
        values["encoder"] = _encoder_config(values.get("encoder", {}))
        values["tasks"] = tuple(values.get("tasks", ()))
        if "base" in values:
            values["base"] = Base.from_dict(values["base"])
        config = cls(**values)
        if missing := {config.source, config.target} - set(config.languages):
            raise ModelError(f"simulst.json: languages has no {', '.join(map(repr, sorted(missing)))}.")
        return config


def tiny_decoder_config(vocabulary: int) -> dict[str, Any]:
    """A Llama of 10M parameters."""
    return {
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": 320,
        "intermediate_size": 864,
        "num_hidden_layers": 6,
        "num_attention_heads": 5,
        "num_key_value_heads": 5,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


class Projector(nn.Module):
    """Stacked frames [..., stack * D] -> the decoder's width."""

    def __init__(self, input_dim: int, inner_dim: int, output_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(input_dim)
        self.inner = nn.Linear(input_dim, inner_dim)
        self.output = nn.Linear(inner_dim, output_dim)

    def forward(self, stacked: Tensor) -> Tensor:
        vectors: Tensor = self.output(nn.functional.gelu(self.inner(self.norm(stacked))))
        return vectors


def _encoder_config(values: dict[str, Any]) -> EncoderConfig:
    if "network" not in values:
        return BlockCausalConfig.from_dict(values)
    sliding = values["network"].get("model_type") == SLIDING
    return SlidingConfig.from_dict(values) if sliding else WindowedConfig.from_dict(values)


def encoder_of(config: EncoderConfig) -> StreamingEncoder:
    """An encoder whose weights are still to come."""
    if isinstance(config, SlidingConfig):
        return SlidingStreamingEncoder(config)
    return WindowedEncoder(config) if isinstance(config, WindowedConfig) else BlockCausalEncoder(config)


class SpeechLLM(nn.Module):
    """Weights only; those of the decoder are drawn anew where none is given."""

    def __init__(self, config: SpeechLLMConfig, decoder: "PreTrainedModel | None" = None) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModelForCausalLM

        self.config = config
        self.encoder = encoder_of(config.encoder)
        if decoder is None:
            decoder_config = AutoConfig.for_model(**config.decoder)
            decoder = AutoModelForCausalLM.from_config(decoder_config, attn_implementation="sdpa")
        self.decoder = decoder
        width = self.decoder.get_input_embeddings().weight.shape[1]
        self.projector = Projector(config.stack * config.encoder.model_dim, config.projector_dim, width)

    @property
    def embeddings(self) -> Tensor:
        """Token embeddings [V, width], which CTC scores speech vectors against too."""
        return self.decoder.get_input_embeddings().weight  # type: ignore[no-any-return]

    def embed(self, ids: Tensor) -> Tensor:
        """What the decoder reads for tokens [..], [.., width]."""
        found: Tensor = self.decoder.get_input_embeddings()(ids)
        return found

    @property
    def device(self) -> torch.device:
        return self.projector.output.weight.device

    @property
    def adapted(self) -> bool:
        """Whether only a part of the decoder is trained, the rest being that of a pretrained one."""
        return is_adapted(self.decoder)

    @property
    def output(self) -> OutputLayer:
        """What scores the next token."""
        return OutputLayer.of(self.decoder)

    @property
    def tied(self) -> bool:
        """Whether the output layer is the token embeddings; then it is not stored."""
        return bool(self.decoder.config.tie_word_embeddings)

    def stack(self, frames: Tensor) -> Tensor:
        """[..., k * stack, D] -> [..., k, stack * D]."""
        *batch, count, width = frames.shape
        return frames.reshape(*batch, count // self.config.stack, self.config.stack * width)


def stored_tensors(model: SpeechLLM) -> dict[str, Tensor]:
    """What is stored of a model: all but an output layer that is the embeddings, and the weights of a base."""
    tensors = model.state_dict()
    if model.adapted:
        kept = {name: one for name, one in tensors.items() if not name.startswith("decoder.")}
        return kept | {f"decoder.{name}": one for name, one in added(model.decoder).items()}
    return {name: one for name, one in tensors.items() if not (model.tied and name == OUTPUT_WEIGHT)}


def save_model(model: SpeechLLM, folder: Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write `simulst.json` and `model.safetensors`, with `dtype` int8 a byte a number; the vocabulary is copied by the
    caller. OutputError where it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = stored_tensors(model)
    if dtype == torch.int8:
        tensors = rounded(tensors)
    else:
        tensors = {name: one.detach().to(dtype).contiguous() for name, one in tensors.items()}
    save_tensors(tensors, folder / "model.safetensors")
    write_text(folder / "simulst.json", json.dumps(model.config.to_dict(), indent=1) + "\n")


def read_config(folder: Path) -> SpeechLLMConfig:
    """The configuration of a model folder."""
    try:
        values = json.loads((folder / "simulst.json").read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{folder}/simulst.json cannot be read ({error}); give the folder of a simulst model."
        ) from error
    if not isinstance(values, dict):
        raise ModelError(f"{folder}/simulst.json must hold a JSON object.")
    try:
        return SpeechLLMConfig.from_dict(values)
    except ModelError as error:
        raise ModelError(f"{folder}/{error}") from None
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}/simulst.json is not a valid model description: {error}.") from error


def _numbers(encoder: EncoderConfig) -> int:
    """How many an encoder holds at least."""
    if isinstance(encoder, BlockCausalConfig):
        return encoder.model_dim * encoder.inner_dim
    with torch.device("meta"):
        return sum(one.numel() for one in encoder_of(encoder).parameters())


def _built(folder: Path, config: SpeechLLMConfig, numbers: int, base: str | None) -> SpeechLLM:
    """The model of `config` with weights still to come, of which the file holds `numbers`."""
    decoder, encoder = config.decoder, config.encoder
    if config.base is not None:
        size = int(decoder["vocab_size"])
        return SpeechLLM(config, load_adapted(find_base(base or config.base.name), config.base, size))
    wide = max(decoder.get("vocab_size", 1), decoder.get("intermediate_size", 1), config.projector_dim)
    too_large = decoder.get("hidden_size", 1) * wide > max(numbers, 1)
    try:
        if too_large or _numbers(encoder) > max(numbers, 1):
            raise ModelError(f"{folder}/simulst.json describes a model larger than its model.safetensors.")
        return SpeechLLM(config)
    except ModelError:
        raise
    except Exception as error:  # transformers takes any configuration and trips over it anywhere
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelError(
            f"{folder}/simulst.json describes a model that cannot be built: {reason.rstrip('.')}."
        ) from error


def load_weights(
    folder: Path,
    config: SpeechLLMConfig,
    *,
    dtype: torch.dtype = torch.float32,
    base: str | None = None,
    for_text: bool = False,
) -> SpeechLLM:
    """Build the model of `config` and fill it from `model.safetensors`; an adapter becomes part of the weights of its
    base, which is found by the name in `config` or by that in `base`. `for_text`: with its weights for text alone."""
    tensors = load_tensors(folder / "model.safetensors")
    if for_text:
        tensors = with_text_weights(folder, tensors)
    model = _built(folder, config, sum(tensor.numel() for tensor in tensors.values()), base)
    expected = set(stored_tensors(model))
    try:
        _, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder}/model.safetensors does not fit simulst.json: {reason.rstrip('.')}.") from error
    missing = sorted(expected - set(tensors))
    if missing or unexpected:
        raise ModelError(
            f"{folder}/model.safetensors does not fit simulst.json: {len(missing)} tensors missing "
            f"({', '.join(missing[:3])}), {len(unexpected)} unknown ({', '.join(unexpected[:3])})."
        )
    merge(model.decoder)
    model.decoder.tie_weights()
    return model.to(dtype).eval().requires_grad_(False)
