"""Speech translation by a speech LLM: streaming encoder, speech vectors in a causal language model's context.

The encoder never computes a frame twice and the decoder's cache of the speech positions grows with the audio; only the
kept target text and the new tokens are decoded at each chunk, with `positions=grouped` only the new ones.
"""

from collections.abc import Sequence, Set
from pathlib import Path

import torch

from simulst.core.languages import Pair
from simulst.core.translator import DECODING, Evidence, PlainTranslator, Translator
from simulst.models.attention import STREAMING_FILE, Head, choose_heads, middle_layer, read_heads
from simulst.models.checkpoint import torch_device
from simulst.models.family import ModelFamily
from simulst.models.precision import choose_precision
from simulst.models.speech_llm.arithmetic import Arithmetic
from simulst.models.speech_llm.compute import Compute, Direct
from simulst.models.speech_llm.heard_once import HeardOnce
from simulst.models.speech_llm.monotonic import MONOTONIC_FILE, MonotonicHeads, load_heads
from simulst.models.speech_llm.network import SpeechLLMConfig, load_weights, read_config
from simulst.models.speech_llm.options import Options
from simulst.models.speech_llm.session import SpeechLLMSession
from simulst.models.speech_llm.transducer import TRANSDUCER_FILE, JointNetwork, load_joint
from simulst.models.speech_llm.vocabulary import read_vocabulary
from simulst.models.speech_llm.weights import Weights

BESIDE = {Evidence.P_CHOOSE: MONOTONIC_FILE, Evidence.TRANSDUCER: TRANSDUCER_FILE}
"""Evidence that a file beside the weights brings."""
UNLOCKS = {Evidence.GROUPED: "positions=grouped"}
"""Evidence that an option brings."""


class SpeechLLMTranslator(PlainTranslator):
    """A name, weights, and who computes with them; sessions hold everything else."""

    unlocks = UNLOCKS

    def __init__(self, weights: Weights, *, name: str, directory: Path, compute: Compute | None = None) -> None:
        config = weights.model.config
        self.weights, self.name, self.directory = weights, name, directory
        self.compute = compute or Direct(weights)
        self.vocabulary = weights.vocabulary
        beside = {
            Evidence.P_CHOOSE: weights.monotonic is not None,
            Evidence.TRANSDUCER: weights.transducer is not None,
        }
        self.provides = evidence(config, weights.options, {one for one, there in beside.items() if there})
        self.frame_s, self.max_source_s = config.frame_s, config.max_source_s

    @property
    def device(self) -> torch.device:
        return self.weights.device

    def open(self) -> SpeechLLMSession:
        return SpeechLLMSession(self.weights, self.compute)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Translation and transcript, the one it was loaded for first."""
        config = self.weights.model.config
        translate = Pair(source=config.source, target=config.target)
        transcribe = Pair(source=config.source, target=config.source)
        return (translate, transcribe) if self.weights.options.task == "translate" else (transcribe, translate)

    def for_pair(self, pair: Pair) -> "SpeechLLMTranslator":
        weights = self.weights.doing("transcribe" if pair.task == "transcribe" else "translate")
        return SpeechLLMTranslator(weights, name=self.name, directory=self.directory)

    def side_by_side(self, pairs: Sequence[Pair]) -> list[Translator]:
        """A decoder for each pair, on the same speech vectors."""
        compute = HeardOnce(self.compute)
        return [self.for_pair(pair).computed_by(compute) for pair in pairs]

    def computed_by(self, compute: Compute) -> "SpeechLLMTranslator":
        """The same weights under the same name, run by `compute`."""
        return SpeechLLMTranslator(self.weights, name=self.name, directory=self.directory, compute=compute)

    def use_heads(self, heads: Sequence[Head] | None) -> list[Head]:
        """Read alignment from these heads, or from all, as calibration does; their order in `Alignment.heads`."""
        return self.weights.attention.use(heads)


def evidence(config: SpeechLLMConfig, options: Options, beside: Set[Evidence]) -> frozenset[Evidence]:
    """What a model provides by its training, its options and the files beside its weights."""
    grouped = {Evidence.GROUPED} if options.positions == "grouped" else set()
    marked = {Evidence.SESSION_TOKENS} if config.reads_and_writes else set()
    chained = {Evidence.CHAIN} if "chain" in config.tasks else set()
    joint = {Evidence.JOINT} if "joint" in config.tasks else set()
    return DECODING | {Evidence.CTC_COUNTS, Evidence.SOURCE_LM} | grouped | marked | chained | joint | beside


def read_weights(directory: Path, options: Options, *, device: str, dtype: str | None) -> Weights:
    """What a simulst model directory holds: `simulst.json`, `model.safetensors`, the vocabulary."""
    config = read_config(directory)
    end = int(config.decoder.get("eos_token_id", 0))
    vocabulary = read_vocabulary(directory, eos=end, size=int(config.decoder["vocab_size"]))
    where = torch_device(device)
    precision = choose_precision(dtype, where, int8=True)
    model = load_weights(directory, config, dtype=precision.dtype, base=options.base, for_text=options.text_weights).to(
        where
    )
    if options.encoder == "full":
        model.encoder.hear_whole_clips()
    layers, heads = int(config.decoder["num_hidden_layers"]), int(config.decoder["num_attention_heads"])
    chosen = choose_heads(directory, options.heads_file, middle_layer(layers, heads))
    return Weights(
        model,
        vocabulary,
        options=options,
        heads=chosen,
        arithmetic=Arithmetic.chosen(options.kernel, int8=precision.int8, like=model.embeddings),
        streaming=_streaming(directory),
        monotonic=_monotonic(directory, config, where),
        transducer=_transducer(directory, config, where),
    )


def _streaming(directory: Path) -> list[Sequence[int]]:
    """The streaming heads in the model's folder, if there are any."""
    path = directory / STREAMING_FILE
    return read_heads(path, remedy="`simulst calibrate MODEL --data DATA --streaming`") if path.is_file() else []


def _monotonic(directory: Path, config: SpeechLLMConfig, device: torch.device) -> MonotonicHeads | None:
    """The write probabilities in the model's folder, if there are any."""
    path = directory / MONOTONIC_FILE
    if not path.is_file():
        return None
    decoder = config.decoder
    heads = int(decoder["num_attention_heads"])
    head_dim = int(decoder.get("head_dim") or int(decoder["hidden_size"]) // heads)
    key_width = int(decoder.get("num_key_value_heads", heads)) * head_dim
    layers = int(decoder["num_hidden_layers"])
    return load_heads(path, layers=layers, query_width=heads * head_dim, value_width=key_width).to(device)


def _transducer(directory: Path, config: SpeechLLMConfig, device: torch.device) -> JointNetwork | None:
    """The joint network in the model's folder, if there is one."""
    path = directory / TRANSDUCER_FILE
    return load_joint(path, width=int(config.decoder["hidden_size"])).to(device) if path.is_file() else None


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> SpeechLLMTranslator:
    """The translator of a simulst model directory."""
    weights = read_weights(directory, options, device=device, dtype=dtype)
    return SpeechLLMTranslator(weights, name=name, directory=directory)


def _provides(directory: Path, options: Options) -> frozenset[Evidence]:
    beside = {one for one, name in BESIDE.items() if (directory / name).is_file()}
    return evidence(read_config(directory), options, beside)


FAMILY = ModelFamily(
    name="speech_llm",
    options=Options,
    provides=_provides,
    load=load,
    unlocks=UNLOCKS,
    for_text={"text_weights": "true"},
    hub="tiny-en-de",
)
