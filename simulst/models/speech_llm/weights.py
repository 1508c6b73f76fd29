"""What the streams of a speech LLM share: network, vocabulary, marks, alignment heads and options."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from simulst.errors import ModelError
from simulst.models.attention import STREAMING_FILE, Head, check_heads, median_width
from simulst.models.speech_llm.arithmetic import Arithmetic
from simulst.models.speech_llm.graphs import capture_for
from simulst.models.speech_llm.monotonic import MonotonicHeads
from simulst.models.speech_llm.network import SpeechLLM
from simulst.models.speech_llm.options import Options
from simulst.models.speech_llm.rotary import Rotary
from simulst.models.speech_llm.self_attention import SelfAttention
from simulst.models.speech_llm.transducer import JointNetwork
from simulst.models.speech_llm.vocabulary import SpeechVocabulary
from simulst.models.speech_llm.written import written_out


class Weights:
    """A speech LLM as its contexts see it; holds nothing of any stream."""

    def __init__(
        self,
        model: SpeechLLM,
        vocabulary: SpeechVocabulary,
        *,
        options: Options,
        heads: Sequence[Sequence[int]],
        arithmetic: Arithmetic,
        streaming: Sequence[Sequence[int]] = (),
        monotonic: MonotonicHeads | None = None,
        transducer: JointNetwork | None = None,
    ) -> None:
        config = model.config
        self.written = written_out(model.decoder)
        arithmetic.applied(model, [] if self.written is None else [self.written])
        self.recognise: Callable[[Tensor], Tensor] = (
            model.output.layer if model.tied else arithmetic.layer(model.embeddings)
        )
        self.model, self.vocabulary, self.options = model, vocabulary, options
        self.frame_s = config.frame_s
        self.median_frames = median_width(options.median_s, self.frame_s)
        self.speech_mark = vocabulary.mark("<sp>")
        self.source_mark = vocabulary.mark(config.languages[config.source])
        self.target_mark = self._target_mark()
        self.text_target_mark = vocabulary.mark(config.languages[config.target])
        self.blank = vocabulary.mark("<blank>")
        self.attention = SelfAttention(model.decoder, heads)
        self.monotonic = monotonic
        self.transducer = transducer
        self.capture = capture_for(options.graph, self.device)
        self._streaming = self._key_heads(streaming) if streaming else frozenset()
        self.evicts = options.cache == "evict"
        self.rotary = self._rotary(required=self.evicts or options.positions == "grouped")
        self.evicts_turns = self.evicts or (options.cache == "auto" and self.rotary is not None)
        suppress = torch.zeros(len(vocabulary), dtype=torch.bool, device=self.device)
        suppress[[token for token in vocabulary.special if token != vocabulary.eos]] = True
        self.suppress = suppress
        self.suppress_in_labels = suppress.clone()
        self.suppress_in_labels[vocabulary.eos] = True
        self.suppress_in_ctc = suppress.clone()
        self.suppress_in_ctc[vocabulary.eos] = True
        self.suppress_in_ctc[self.blank] = False
        self.block_vectors = max(1, config.encoder.block_frames // config.stack)
        marks = [i for i in range(len(vocabulary)) if vocabulary.decode([i]).strip()[-1:] in (".", "?", "!")]
        self.sentence_marks = frozenset(marks)
        if config.reads_and_writes:
            self.read_mark, self.write_mark = vocabulary.mark("<read>"), vocabulary.mark("<write>")
            self.suppress_in_write = suppress.clone()
            self.suppress_in_write[vocabulary.eos] = True
            self.suppress_in_write[self.read_mark] = False

    def _key_heads(self, heads: Sequence[Sequence[int]]) -> frozenset[Head]:
        count = int(self.model.decoder.config.num_key_value_heads)
        return frozenset(check_heads(heads, layers=self.attention.layers, num_heads=count, what="streaming"))

    def streaming_heads(self) -> frozenset[Head]:
        """Heads of keys that need only the first and the newest entries; those that alignment is read from need all.

        ModelError where the model's folder names none.
        """
        if not self._streaming:
            raise ModelError(
                f"The model's folder has no {STREAMING_FILE}; make it with `simulst calibrate MODEL --data DATA "
                "--streaming`, or use history.method = turns."
            )
        config = self.model.decoder.config
        group = int(config.num_attention_heads) // int(config.num_key_value_heads)
        return self._streaming - {(layer, head // group) for layer, head in self.attention.heads}

    def _target_mark(self) -> int:
        config = self.model.config
        target = config.target if self.options.task == "translate" else config.source
        return self.vocabulary.mark(config.languages[target])

    def doing(self, task: Literal["translate", "transcribe"]) -> "Weights":
        """The same network for the other task."""
        other = copy.copy(self)
        other.options = replace(self.options, task=task)
        other.target_mark = other._target_mark()
        return other

    def _rotary(self, *, required: bool) -> Rotary | None:
        """What moves cached keys; None where nothing asks for it, or nothing but `cache=auto` and it cannot be."""
        if not required and (self.options.cache != "auto" or not self.model.config.reads_and_writes):
            return None
        try:
            return Rotary.of(self.model.decoder)
        except ModelError:
            if required:
                raise
            return None

    @property
    def device(self) -> torch.device:
        return self.model.embeddings.device

    def embed(self, ids: Sequence[int]) -> Tensor:
        """Token embeddings [n, width]."""
        with torch.inference_mode():
            return self.model.embed(torch.tensor(ids, dtype=torch.long, device=self.device))

    def read_frames(self, frames: Tensor) -> tuple[Tensor, list[int]]:
        """Speech vectors of encoder frames [frames, D], and the likeliest CTC token (or blank) of each."""
        model = self.model
        if not len(frames):
            return model.embeddings.new_zeros(0, model.embeddings.shape[1]), []
        vectors: Tensor = model.projector(model.stack(frames))
        scores = self.recognise(vectors)
        return vectors, scores.masked_fill(self.suppress_in_ctc, -torch.inf).argmax(-1).tolist()
