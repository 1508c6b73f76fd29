"""Encoders of the hub that hear all of a window at once: Whisper, wav2vec2, HuBERT, w2v-BERT, as transformers has them.

Radford et al. 2022 (2212.04356), Baevski et al. 2020 (2006.11477), Hsu et al. 2021 (2106.07447), Seamless Communication
2023 (2312.05187). They are used as they were trained, without a causal form; `windowed.py` gives them the windows.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from simulst.audio.samples import SAMPLE_RATE
from simulst.errors import ModelError
from simulst.models.checkpoint import load_pretrained, read_json
from simulst.models.hub import fetch, is_hub_name
from simulst.models.registry import locate
from simulst.models.seq2seq.windows import whisper_states
from simulst.models.speech_llm.base import described
from simulst.models.speech_llm.fairseq2_encoders import SUFFIX, is_saved, read_saved

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is known of an encoder before it is built."""

    model_dim: int
    frame_samples: int
    """Samples from one frame to the next."""
    tail_samples: int
    """Samples after its own that a frame needs."""
    longest_frames: int | None = None
    """The longest window, where there is a limit."""


class HubEncoder(nn.Module, ABC):
    """An encoder of transformers in its layers, and what makes its features of samples."""

    needed: tuple[str, ...]
    """Values of the configuration that are noted even where they are the library's defaults."""

    def __init__(self, encoder: "PreTrainedModel", *, normalise: bool) -> None:
        super().__init__()
        self.encoder, self.normalise = encoder, normalise

    @classmethod
    def built(cls, config: "PreTrainedConfig") -> "PreTrainedModel":
        """With weights drawn anew."""
        from transformers import AutoModel

        model: PreTrainedModel = AutoModel.from_config(config, attn_implementation="sdpa")
        return model

    @classmethod
    def taken(cls, model: "PreTrainedModel") -> "PreTrainedModel":
        """The encoder out of a loaded model."""
        return model

    @classmethod
    @abstractmethod
    def shape(cls, config: "PreTrainedConfig") -> Shape:
        """Sizes by the configuration."""

    @abstractmethod
    def forward(self, audio: Tensor) -> Tensor:
        """Frames [windows, frames, D] of samples [windows, samples], float32 of the encoder's device."""


class WhisperEncoder(HubEncoder):
    """Log-mel features and layers with absolute positions, for windows of up to 30 s."""

    needed = ("model_type", "d_model", "max_source_positions", "num_mel_bins")

    @classmethod
    def built(cls, config: "PreTrainedConfig") -> "PreTrainedModel":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as Layers

        model: PreTrainedModel = Layers._from_config(config, attn_implementation="sdpa")
        return model

    @classmethod
    def taken(cls, model: "PreTrainedModel") -> "PreTrainedModel":
        encoder: PreTrainedModel = model.get_encoder()
        return encoder

    @classmethod
    def shape(cls, config: "PreTrainedConfig") -> Shape:
        longest = int(config.max_source_positions)
        return Shape(model_dim=int(config.d_model), frame_samples=320, tail_samples=0, longest_frames=longest)

    @cached_property
    def extractor(self) -> Any:
        from transformers import WhisperFeatureExtractor

        return WhisperFeatureExtractor(feature_size=int(self.encoder.config.num_mel_bins))

    def forward(self, audio: Tensor) -> Tensor:
        told = {"sampling_rate": SAMPLE_RATE, "padding": "max_length", "max_length": audio.shape[1]}
        with torch.autocast("cpu", enabled=False):  # features of half precision would be others
            features = self.extractor(list(audio.cpu().numpy()), return_tensors="pt", **told).input_features
        states: Tensor = self.encoder.layer_norm(whisper_states(self.encoder, features))
        return states


class WaveEncoder(HubEncoder):
    """Convolutions over samples, convolutional positions: wav2vec2 and HuBERT."""

    needed = ("model_type", "hidden_size", "conv_stride", "conv_kernel")

    @classmethod
    def shape(cls, config: "PreTrainedConfig") -> Shape:
        field, step = 1, 1
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            field, step = field + (int(kernel) - 1) * step, step * int(stride)
        return Shape(model_dim=int(config.hidden_size), frame_samples=step, tail_samples=field - step)

    def forward(self, audio: Tensor) -> Tensor:
        if self.normalise:
            variance, mean = torch.var_mean(audio, dim=1, keepdim=True, correction=0)
            audio = (audio - mean) * (variance + 1e-7).rsqrt()
        weight = next(self.encoder.parameters())
        states: Tensor = self.encoder(audio.to(weight.dtype)).last_hidden_state
        return states


class FilterbankEncoder(HubEncoder):
    """Kaldi filterbanks, two rows a frame, normalised over the window, and a conformer: w2v-BERT 2.0."""

    needed = ("model_type", "hidden_size", "feature_projection_input_dim")
    rows = 2

    @classmethod
    def shape(cls, config: "PreTrainedConfig") -> Shape:
        return Shape(model_dim=int(config.hidden_size), frame_samples=160 * cls.rows, tail_samples=400 - 160)

    @cached_property
    def extractor(self) -> Any:
        from transformers import SeamlessM4TFeatureExtractor

        bands = int(self.encoder.config.feature_projection_input_dim) // self.rows
        return SeamlessM4TFeatureExtractor(feature_size=bands, num_mel_bins=bands, stride=self.rows)

    def forward(self, audio: Tensor) -> Tensor:
        found = self.extractor(list(audio.cpu().numpy()), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        weight = next(self.encoder.parameters())
        states: Tensor = self.encoder(found.input_features.to(weight.device, weight.dtype)).last_hidden_state
        return states


ENCODERS: dict[str, type[HubEncoder]] = {
    "whisper": WhisperEncoder,
    "wav2vec2": WaveEncoder,
    "hubert": WaveEncoder,
    "wav2vec2-bert": FilterbankEncoder,
}
"""`model_type` of a checkpoint to what makes frames of its encoder."""

_ONLY_TRAINED_WITH = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "add_adapter": False}
"""Masks of training, and layers that shorten what the encoder has made."""
_MASKS = ("masked_spec_embed",)
"""Weights that only training needs."""


def find_encoder(name: str) -> Path:
    """The directory of a checkpoint by folder, known name or hub name, from where it is fetched, or the file of one of
    fairseq2. Raises ModelError."""
    directory = Path(name).expanduser()
    if directory.is_dir() or is_saved(directory):
        return directory
    if directory.suffix == SUFFIX:
        raise ModelError(f"The encoder {name} does not exist; give a file of fairseq2, a folder or a hub name.")
    return fetch(name) if is_hub_name(name) else locate(name).directory


def network_of(directory: Path) -> dict[str, object]:
    """The configuration of an encoder as `simulst.json` holds it. Raises ModelError for one that is not known here."""
    if is_saved(directory):
        return read_saved(directory).network
    kind = read_json(directory / "config.json").get("model_type")
    if not isinstance(kind, str) or kind not in ENCODERS:
        known = ", ".join(("moonshine", "moonshine_streaming", *ENCODERS))
        raise ModelError(f"{directory} is of type {kind}; a speech LLM hears with an encoder of {known}.")
    values = described(directory, ENCODERS[kind].needed)
    return values | {key: value for key, value in _ONLY_TRAINED_WITH.items() if kind != "whisper"}


def normalises(directory: Path) -> bool:
    """Whether a checkpoint was trained on samples of mean 0 and variance 1, as it is where nothing is said."""
    if is_saved(directory):
        return read_saved(directory).normalise
    path = directory / "preprocessor_config.json"
    return not path.is_file() or read_json(path).get("do_normalize", True) is not False


def config_of(network: Mapping[str, object]) -> "PreTrainedConfig":
    """The library's configuration; it raises anything for one that cannot be."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**network)


def load_encoder(directory: Path, network: Mapping[str, object], *, normalise: bool) -> HubEncoder:
    """The encoder of a checkpoint with its weights, frozen. Raises ModelError."""
    from transformers import AutoModel

    kind, config = ENCODERS[str(network["model_type"])], config_of(network)
    if is_saved(directory):
        return kind(_of_fairseq2(directory, kind, config), normalise=normalise)
    model = load_pretrained(AutoModel, directory, device="cpu", dtype="float32", config=config)
    return kind(kind.taken(model), normalise=normalise)


def empty_encoder(network: Mapping[str, object], *, normalise: bool) -> HubEncoder:
    """The same with weights that are still to come."""
    kind = ENCODERS[str(network["model_type"])]
    return kind(_empty(kind, config_of(network)), normalise=normalise)


def _empty(kind: type[HubEncoder], config: "PreTrainedConfig") -> "PreTrainedModel":
    """Room for the weights, in which nothing is drawn; an encoder that also computes tables is built as usual."""
    with torch.device("meta"):
        model = kind.built(config)
    if {name for name, _ in model.named_buffers()} - set(model.state_dict()):
        return kind.built(config)
    return model.to_empty(device=torch.get_default_device())


def _of_fairseq2(path: Path, kind: type[HubEncoder], config: "PreTrainedConfig") -> "PreTrainedModel":
    """With the weights of a file of fairseq2, frozen. Raises ModelError where they are not all there, or others."""
    try:
        with torch.device("meta"):  # a hostile file claims sizes that only a network would fill
            known = kind.built(config).state_dict()
    except Exception as error:  # transformers takes any configuration and trips over it anywhere
        raise ModelError(f"{path} holds an encoder that cannot be built: {type(error).__name__}.") from error
    tensors = read_saved(path).tensors
    given = {name: one for name, one in tensors.items() if name in known or name not in _MASKS}
    if differing := sorted(set(given) ^ set(known)):
        raise ModelError(f"{path} holds another encoder than its sizes say; they differ in {differing[0]}.")
    if wrong := sorted(name for name, one in given.items() if one.shape != known[name].shape):
        raise ModelError(f"{path} holds weights of a shape that its encoder cannot have, for example {wrong[0]}.")
    model = _empty(kind, config)
    model.load_state_dict(given)
    return model.eval().requires_grad_(False)
