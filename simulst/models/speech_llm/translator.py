"""Speech translation by a speech LLM: streaming encoder, speech vectors in a causal language model's context.

The encoder never computes a frame twice and the decoder's cache of the speech positions grows with the audio; only the
kept target text and the new tokens are decoded at each chunk, with `positions=grouped` only the new ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.core.translator import DECODING, Evidence
from simulst.errors import ModelError
from simulst.models import onednn
from simulst.models.attention import HEADS_FILE, Head, check_heads, read_heads, whole_layers
from simulst.models.checkpoint import torch_device, torch_dtype
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.speech_llm.cache import DirectForward, Forward, StreamCache, Tally
from simulst.models.speech_llm.encoder import EncoderState
from simulst.models.speech_llm.network import SpeechLLM, SpeechLLMConfig, load_weights, read_config
from simulst.models.speech_llm.rotary import Rotary
from simulst.models.speech_llm.self_attention import SelfAttention
from simulst.models.speech_llm.session import SpeechLLMSession
from simulst.models.vocabulary import PieceVocabulary

VOCABULARY_FILE = "vocabulary.model"
UNLOCKS = {Evidence.GROUPED: "positions=grouped"}
"""Evidence that an option brings."""
FULL_CONTEXT = 1 << 20
"""A block of seven hours: the whole clip."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `load_model`."""

    task: Literal["translate", "transcribe"] = option("translate", "translate the speech or transcribe it")
    encoder: Literal["streaming", "full"] = option(
        "streaming", "full: the encoder hears the whole clip at once, at its end; only to see what streaming costs"
    )
    beams: int = option(1, "beam width of decoding")
    no_repeat_ngram: int = option(5, "no n-gram of this length comes twice; 0: off")
    median_frames: int = option(1, "width of the median filter over alignment frames; 1: off")
    top_p: float = option(0.9, "probability mass that sampling draws from")
    temperature: float = option(1.0, "temperature of sampling")
    positions: Literal["batch", "grouped"] = option(
        "batch", "one count over speech and text, or one for each: then no text is decoded twice"
    )
    cache: Literal["rebuild", "evict", "none"] = option(
        "rebuild",
        "what a trim does to cached speech: fill the cache anew, or close it up and recompute nothing; none: nothing "
        "is cached from chunk to chunk, as in systems that re-encode their history, only to see what that costs",
    )
    heads_file: str | None = option(None, "calibrated heads; none: alignment_heads.json beside the model")

    def __post_init__(self) -> None:
        if self.beams < 1 or self.beams > 32:
            raise ModelError(f"Option 'beams' must be between 1 and 32, not {self.beams}.")
        if not 0 < self.top_p <= 1 or not self.temperature > 0:
            raise ModelError("Option 'top_p' must be in (0, 1] and 'temperature' above 0.")
        if self.cache == "none" and self.positions == "grouped":
            raise ModelError("Grouped positions rest on what is cached; leave out cache=none or positions=grouped.")


class SentencePieceVocabulary(PieceVocabulary):
    """The joint SentencePiece vocabulary: bytes per piece for the target side, encoding for source text."""

    def __init__(self, path: Path) -> None:
        import sentencepiece

        try:
            self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise ModelError(f"{path} is not a readable SentencePiece model.") from error
        count = self.processor.get_piece_size()
        pieces = [self._bytes(i) for i in range(count)]
        special = [i for i in range(count) if self.processor.is_control(i) or self.processor.is_unknown(i)]
        super().__init__(pieces, eos=self.processor.eos_id(), special=special)

    def _bytes(self, token: int) -> bytes:
        piece = self.processor.id_to_piece(token)
        if self.processor.is_byte(token):
            return bytes([int(piece[3:5], 16)])
        return str(piece).replace("\u2581", " ").encode()

    def encode(self, text: str) -> list[int]:
        return list(self.processor.encode(text))

    def mark(self, name: str) -> int:
        """The id of a control mark such as `<sp>`."""
        token = int(self.processor.piece_to_id(name))
        if token == self.processor.unk_id():
            raise ModelError(f"The vocabulary has no mark {name}.")
        return token


class SpeechLLMTranslator:
    """Weights and vocabulary; sessions hold everything else."""

    unlocks = UNLOCKS

    def __init__(
        self,
        model: SpeechLLM,
        vocabulary: SentencePieceVocabulary,
        *,
        name: str,
        directory: Path,
        options: Options,
        heads: Sequence[Head],
    ) -> None:
        config, self.directory = model.config, directory
        self.name, self.model, self.vocabulary, self.options = name, model, vocabulary, options
        self.provides = evidence(config, options)
        self.frame_s = config.frame_s
        self.max_source_s = config.max_source_s
        self.speech_mark = vocabulary.mark("<sp>")
        self.source_mark = vocabulary.mark(config.languages[config.source])
        target = config.target if options.task == "translate" else config.source
        self.target_mark = vocabulary.mark(config.languages[target])
        self.text_target_mark = vocabulary.mark(config.languages[config.target])
        self.blank = vocabulary.mark("<blank>")
        self.attention = SelfAttention(model.decoder, heads)
        self.evicts, self.forgets = options.cache == "evict", options.cache == "none"
        moves = self.evicts or options.positions == "grouped"
        self.rotary = Rotary.of(model.decoder) if moves else None
        self.forward: Forward = DirectForward(model.decoder, self.attention.recording)
        suppress = torch.zeros(len(vocabulary), dtype=torch.bool, device=self.device)
        suppress[[token for token in vocabulary.special if token != vocabulary.eos]] = True
        self.suppress = suppress
        self.suppress_in_ctc = suppress.clone()
        self.suppress_in_ctc[vocabulary.eos] = True
        self.suppress_in_ctc[self.blank] = False
        self.block_vectors = max(1, config.encoder.block_frames // config.stack)
        marks = [i for i in range(len(vocabulary)) if vocabulary.decode([i]).strip()[-1:] in (".", "?", "!")]
        self.sentence_marks = frozenset(marks)
        if Evidence.SESSION_TOKENS in self.provides:
            self.read_mark, self.write_mark = vocabulary.mark("<read>"), vocabulary.mark("<write>")
            self.suppress_in_write = suppress.clone()
            self.suppress_in_write[vocabulary.eos] = True
            self.suppress_in_write[self.read_mark] = False

    @property
    def device(self) -> torch.device:
        return self.model.embeddings.device

    def embed(self, ids: Sequence[int]) -> Tensor:
        """Token embeddings [n, width]."""
        with torch.inference_mode():
            return F.embedding(torch.tensor(ids, dtype=torch.long, device=self.device), self.model.embeddings)

    def hear(self, samples: Tensor, state: EncoderState, *, is_final: bool = False) -> tuple[Tensor, list[int]]:
        """Speech vectors [n, width] of blocks that became complete, the CTC token of each; see `step`."""
        return self.read_frames(self.model.encoder.step(samples, state, is_final=is_final))

    def read_frames(self, frames: Tensor) -> tuple[Tensor, list[int]]:
        """Speech vectors of encoder frames [frames, D], and the likeliest CTC token (or blank) of each."""
        model = self.model
        if not len(frames):
            return model.embeddings.new_zeros(0, model.embeddings.shape[1]), []
        vectors: Tensor = model.projector(model.stack(frames))
        scores = onednn.linear(vectors, model.embeddings)
        return vectors, scores.masked_fill(self.suppress_in_ctc, -torch.inf).argmax(-1).tolist()

    def new_cache(self, tally: Tally) -> StreamCache:
        """An empty cache for one stream."""
        return StreamCache(self.forward, self.attention.layers, rotary=self.rotary, tally=tally)

    def open(self) -> SpeechLLMSession:
        return SpeechLLMSession(self)

    def use_heads(self, heads: Sequence[Head] | None) -> list[Head]:
        """Read alignment from these heads, or from all, as calibration does; their order in `Alignment.heads`."""
        attention = self.attention
        wanted = whole_layers(range(attention.layers), attention.num_heads) if heads is None else heads
        chosen = check_heads(wanted, layers=attention.layers, num_heads=attention.num_heads)
        attention.heads = sorted(chosen, key=lambda head: head[0])
        return list(attention.heads)


def evidence(config: SpeechLLMConfig, options: Options) -> frozenset[Evidence]:
    """What a model provides by its training and its options."""
    grouped = {Evidence.GROUPED} if options.positions == "grouped" else set()
    marked = {Evidence.SESSION_TOKENS} if {"read_write", "turns"} & set(config.tasks) else set()
    return DECODING | {Evidence.CTC_COUNTS, Evidence.SOURCE_LM} | grouped | marked


def _heads(directory: Path, options: Options, config: SpeechLLMConfig) -> list[Head]:
    """Heads from the option's file, else from the file beside the model, else every head of the middle layer."""
    if options.heads_file is not None:
        return read_heads(Path(options.heads_file).expanduser())
    if (directory / HEADS_FILE).is_file():
        return read_heads(directory / HEADS_FILE)
    return whole_layers([int(config.decoder["num_hidden_layers"]) // 2], int(config.decoder["num_attention_heads"]))


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> SpeechLLMTranslator:
    """A simulst model directory: `simulst.json`, `model.safetensors`, `vocabulary.model`."""
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
    heads = _heads(directory, options, config)
    return SpeechLLMTranslator(model, vocabulary, name=name, directory=directory, options=options, heads=heads)


def _provides(directory: Path, options: Options) -> frozenset[Evidence]:
    return evidence(read_config(directory), options)


FAMILY = ModelFamily(name="speech_llm", options=Options, provides=_provides, load=load, unlocks=UNLOCKS)
