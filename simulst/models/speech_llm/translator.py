"""Speech translation by a speech LLM: streaming encoder, speech vectors in a causal language model's context.

The encoder never computes a frame twice and the decoder's cache of the speech positions grows with the audio; only the
kept target text and the new tokens are decoded at each chunk, with `positions=grouped` only the new ones.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from simulst.core.translator import DECODING, Evidence, PlainTranslator
from simulst.errors import ModelError
from simulst.models import onednn
from simulst.models.attention import Head, choose_heads, whole_layers
from simulst.models.checkpoint import torch_device, torch_dtype
from simulst.models.family import ModelFamily
from simulst.models.speech_llm.compute import Compute, Direct
from simulst.models.speech_llm.network import SpeechLLMConfig, load_weights, read_config
from simulst.models.speech_llm.options import Options
from simulst.models.speech_llm.session import SpeechLLMSession
from simulst.models.speech_llm.vocabulary import VOCABULARY_FILE, SentencePieceVocabulary
from simulst.models.speech_llm.weights import Weights

UNLOCKS = {Evidence.GROUPED: "positions=grouped"}
"""Evidence that an option brings."""
FULL_CONTEXT = 1 << 20
"""A block of seven hours: the whole clip."""


class SpeechLLMTranslator(PlainTranslator):
    """A name, weights, and who computes with them; sessions hold everything else."""

    unlocks = UNLOCKS

    def __init__(self, weights: Weights, *, name: str, directory: Path, compute: Compute | None = None) -> None:
        config = weights.model.config
        self.weights, self.name, self.directory = weights, name, directory
        self.compute = compute or Direct(weights)
        self.vocabulary = weights.vocabulary
        self.provides = evidence(config, weights.options)
        self.frame_s, self.max_source_s = config.frame_s, config.max_source_s

    @property
    def device(self) -> torch.device:
        return self.weights.device

    def open(self) -> SpeechLLMSession:
        return SpeechLLMSession(self.weights, self.compute)

    def computed_by(self, compute: Compute) -> "SpeechLLMTranslator":
        """The same weights under the same name, run by `compute`."""
        return SpeechLLMTranslator(self.weights, name=self.name, directory=self.directory, compute=compute)

    def use_heads(self, heads: Sequence[Head] | None) -> list[Head]:
        """Read alignment from these heads, or from all, as calibration does; their order in `Alignment.heads`."""
        return self.weights.attention.use(heads)


def evidence(config: SpeechLLMConfig, options: Options) -> frozenset[Evidence]:
    """What a model provides by its training and its options."""
    grouped = {Evidence.GROUPED} if options.positions == "grouped" else set()
    marked = {Evidence.SESSION_TOKENS} if config.reads_and_writes else set()
    chained = {Evidence.CHAIN} if "chain" in config.tasks else set()
    return DECODING | {Evidence.CTC_COUNTS, Evidence.SOURCE_LM} | grouped | marked | chained


def read_weights(directory: Path, options: Options, *, device: str, dtype: str | None) -> Weights:
    """What a simulst model directory holds: `simulst.json`, `model.safetensors`, `vocabulary.model`."""
    config = read_config(directory)
    vocabulary = SentencePieceVocabulary(directory / VOCABULARY_FILE)
    if len(vocabulary) != int(config.decoder["vocab_size"]):
        raise ModelError(
            f"{directory}/{VOCABULARY_FILE} has {len(vocabulary)} pieces "
            f"but the decoder has {config.decoder['vocab_size']}."
        )
    model = load_weights(directory, config, dtype=torch_dtype(dtype)).to(torch_device(device))
    if options.encoder == "full":
        model.encoder.config = replace(config.encoder, block_frames=FULL_CONTEXT, lookahead_frames=0, left_frames=0)
    onednn.use(model.encoder, exact=config.encoder.block_frames + config.encoder.lookahead_frames)
    onednn.use(model.decoder)
    layers, heads = int(config.decoder["num_hidden_layers"]), int(config.decoder["num_attention_heads"])
    chosen = choose_heads(directory, options.heads_file, whole_layers([layers // 2], heads))
    return Weights(model, vocabulary, options=options, heads=chosen)


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> SpeechLLMTranslator:
    """The translator of a simulst model directory."""
    weights = read_weights(directory, options, device=device, dtype=dtype)
    return SpeechLLMTranslator(weights, name=name, directory=directory)


def _provides(directory: Path, options: Options) -> frozenset[Evidence]:
    return evidence(read_config(directory), options)


FAMILY = ModelFamily(
    name="speech_llm", options=Options, provides=_provides, load=load, unlocks=UNLOCKS, hub="tiny-en-de"
)
