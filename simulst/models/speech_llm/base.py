"""The pretrained decoder that a speech LLM is built on: where it is, its description, weights, and room for marks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from simulst.core.settings import read
from simulst.errors import ModelError
from simulst.models.checkpoint import load_pretrained, read_json
from simulst.models.fingerprint import fingerprint_of_weights
from simulst.models.registry import locate
from simulst.models.speech_llm.adapted import LoraConfig, adapt
from simulst.models.text.local import load_tokenizer
from simulst.models.vocabulary import TOKENIZER_FILE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DECODERS = ("llama", "mistral", "qwen2", "qwen3")
"""Types of decoders whose caches, positions and attention rows are known here."""

_NEEDED = ("model_type", "vocab_size", "num_hidden_layers", "num_attention_heads", "tie_word_embeddings")
_OF_THE_FILE = ("architectures", "dtype", "torch_dtype", "transformers_version", "use_cache")


@dataclass(frozen=True, kw_only=True)
class Base:
    """What an adapter rests on: the weights of a decoder by name and fingerprint, and where something was added."""

    name: str
    """Folder, or name on the hub."""
    weights: str
    """`fingerprint_of_weights`."""
    first_mark: int
    marks: int
    lora: LoraConfig | None = None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "Base":
        """Raises ModelError for a description that no adapter has."""
        found = read(cls, values, "simulst.json: base", ModelError)
        if min(found.first_mark, found.marks - 1) < 0:
            raise ModelError("simulst.json: base.first_mark and base.marks must count tokens.")
        return found


def find_base(name: str) -> Path:
    """The directory of a causal language model; one of the hub is fetched. Raises ModelError."""
    directory = Path(name).expanduser()
    directory = directory if directory.is_dir() else locate(name).directory
    kind = read_json(directory / "config.json").get("model_type")
    if kind not in DECODERS:
        raise ModelError(f"{name} is of type {kind}; a speech LLM is built on a decoder of {', '.join(DECODERS)}.")
    return directory


def described(directory: Path, needed: Sequence[str]) -> dict[str, object]:
    """A configuration as `simulst.json` holds it: what differs from the library's, and what is needed. Raises
    ModelError."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        known = config.to_dict()
        values: dict[str, object] = config.to_diff_dict() | {name: known[name] for name in needed}
    except Exception as error:  # transformers takes any configuration and trips over it anywhere
        raise ModelError(f"{directory}/config.json cannot be read: {error}") from error
    return {
        name: value
        for name, value in values.items()
        if value is not None and name not in _OF_THE_FILE and not name.startswith("_")
    }


def describe_base(directory: Path) -> dict[str, object]:
    """The decoder's configuration as `simulst.json` holds it. Raises ModelError."""
    values = described(directory, _NEEDED)
    ends = values.get("eos_token_id")
    values["eos_token_id"] = ends[0] if isinstance(ends, list) and ends else ends
    if not isinstance(values["eos_token_id"], int):
        raise ModelError(f"{directory}/config.json does not say by which token a text ends (eos_token_id).")
    return values


def tokenizer_of(directory: Path) -> str:
    """What stands, or would stand, in the `tokenizer.json` of a checkpoint; ModelError where there can be none."""
    path = directory / TOKENIZER_FILE
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{path} cannot be read: {error}.") from error
    tokenizer = load_tokenizer(directory)
    if not tokenizer.is_fast:
        raise ModelError(f"{directory} has no {TOKENIZER_FILE}, to which marks could be added; take another decoder.")
    content: str = tokenizer.backend_tokenizer.to_str()
    return content


def load_adapted(directory: Path, base: Base, size: int, *, dtype: str = "float32") -> "PreTrainedModel":
    """The decoder in a directory, frozen in `dtype`, with `size` token embeddings and what is trained beside it.

    Raises ModelError where its weights are not those of `base`, incomplete or damaged.
    """
    from transformers import AutoModelForCausalLM

    found = fingerprint_of_weights(directory)
    if found != base.weights:
        raise ModelError(
            f"What was trained rests on {base.name} with weights {base.weights}, but those in {directory} are {found}; "
            "give it the decoder that it was trained with."
        )
    decoder: PreTrainedModel = load_pretrained(AutoModelForCausalLM, directory, device="cpu", dtype=dtype)
    known = decoder.get_input_embeddings().num_embeddings
    if not base.first_mark + base.marks <= size <= max(known, base.first_mark + base.marks):
        raise ModelError(
            f"The {base.marks} marks from {base.first_mark} on do not fit the {known} tokens of {base.name}."
        )
    if known < size:
        decoder.resize_token_embeddings(size, mean_resizing=False)
    _begin_marks(decoder, base)
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    adapt(decoder, first=base.first_mark, marks=base.marks, lora=base.lora)
    torch.random.set_rng_state(state)
    return decoder


@torch.no_grad()
def _begin_marks(decoder: "PreTrainedModel", base: Base) -> None:
    """Marks begin as what all tokens have in common and a little of their own, drawn from a seed."""
    generator = torch.Generator().manual_seed(0)
    for layer in (decoder.get_input_embeddings(), decoder.get_output_embeddings()):
        known = layer.weight[: base.first_mark].float()
        own = torch.randn(base.marks, known.shape[1], generator=generator) * known.std()
        layer.weight[base.first_mark : base.first_mark + base.marks] = (known.mean(0) + own).to(layer.weight.dtype)
