"""What the streams of one model share: weights, vocabulary, options of decoding, heads that are read."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch

from simulst.core.source import SAMPLE_RATE
from simulst.core.translator import DECODING, PlainTranslator
from simulst.models.attention import HEADS_FILE, CrossAttention, Head, median_width
from simulst.models.meeting import Meeting
from simulst.models.options import check_options, option
from simulst.models.seq2seq.compute import Compute, Direct
from simulst.models.seq2seq.windows import JointWindow, WindowedEncoder
from simulst.models.vocabulary import PieceVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Seq2SeqOptions:
    """How any encoder-decoder decodes; the options that `--set` takes."""

    beams: int = option(
        1, "width of the beam search; 1 is greedy, where a gate can stop decoding early", at_least=1, at_most=64
    )
    no_repeat_ngram: int = option(
        5, "no n-gram of this length twice in the new and the last 20 committed tokens; 0: off", at_least=0
    )
    top_p: float = option(0.95, "probability mass that samples are drawn from", above=0, at_most=1)
    temperature: float = option(1.0, "temperature of samples", above=0, at_most=10)
    median_s: float | None = option(
        None,
        "width of the median filter over attention rows; none: the model's own, 0: off",
        at_least=0,
        at_most=5,
    )
    heads_file: str | None = option(None, f"file of alignment heads instead of {HEADS_FILE} in the model's folder")

    def __post_init__(self) -> None:
        check_options(self)


class AlignmentHeads(Protocol):
    """Heads whose rows are read."""

    heads: list[Head]

    def use(self, heads: Sequence[Head] | None) -> list[Head]: ...


class WindowWeights(PlainTranslator):
    """Weights and vocabulary of a model that encodes a window of audio; sessions share it and never change it."""

    provides = DECODING
    median_s = 0.0
    """Width of the median filter over attention rows, as published for the architecture or measured on it; 0: off."""
    attention: AlignmentHeads

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        model: "PreTrainedModel",
        encoder: WindowedEncoder,
        vocabulary: PieceVocabulary,
        options: Seq2SeqOptions,
        max_source_s: float,
        positions: int,
    ) -> None:
        self.name, self.directory, self.options = name, directory, options
        self.encoder, self.vocabulary = encoder, vocabulary
        self.frame_s = encoder.frame_samples / SAMPLE_RATE
        median_s = self.median_s if options.median_s is None else options.median_s
        self.median_frames = median_width(median_s, self.frame_s)
        self.max_source_s = max_source_s
        self.positions = positions
        self.decoder = model.get_decoder()
        self.scorer = model.get_output_embeddings()
        self.device: torch.device = model.device
        size = int(self.scorer.out_features)
        suppressed = (vocabulary.special | self.suppressed()) - {vocabulary.eos}
        mask = torch.zeros(size, dtype=torch.bool)
        mask[[token for token in suppressed if token < size]] = True
        mask[len(vocabulary) :] = True
        mask[vocabulary.eos] = False
        self.suppress = mask.to(self.device)

    def suppressed(self) -> frozenset[int]:
        """Ids that are never generated, besides special ones."""
        return frozenset()

    def use_heads(self, heads: Sequence[Head] | None) -> list[Head]:
        """Read alignment from these heads, or from all, as calibration does; their order in `Alignment.heads`."""
        return self.attention.use(heads)


class Seq2SeqWeights(WindowWeights):
    """Weights and vocabulary of an encoder-decoder."""

    cross_attention = "encoder_attn"
    """Name of the cross-attention module in a layer of the decoder."""
    attention: CrossAttention
    encoder: JointWindow

    def __init__(
        self, *, model: "PreTrainedModel", heads: Sequence[Sequence[int]], num_heads: int | None = None, **shared: Any
    ) -> None:
        super().__init__(model=model, **shared)
        layers = [layer.get_submodule(self.cross_attention) for layer in self.decoder.layers]
        if num_heads is None:
            config = model.config.to_dict()
            num_heads = int(config.get("decoder_attention_heads") or config["decoder_num_attention_heads"])
        self.attention = CrossAttention(layers, num_heads=num_heads, heads=heads)
        self.compute: Compute = Direct(self.encoder, self.decoder, self.scorer, self.attention)

    @property
    def meeting(self) -> Meeting | None:
        """Where its streams meet."""
        return self.compute.meeting

    def computed_by(self, compute: Compute) -> Self:
        """The same weights under the same name, run by `compute`."""
        other = copy.copy(self)
        other.compute = compute
        return other

    def prompt(self) -> tuple[int, ...]:
        """The ids before the translation, for a stream about which nothing is known."""
        raise NotImplementedError
