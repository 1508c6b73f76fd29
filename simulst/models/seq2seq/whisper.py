"""Whisper: speech in some hundred languages to English text (`task=translate`) or to its own (`task=transcribe`).

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision". Alignment heads come from the
checkpoint's generation_config; the streaming use follows Machacek & Polak 2025 (SimulStreaming).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import torch

from simulst.core.languages import Pair
from simulst.core.source import SAMPLE_RATE
from simulst.core.translator import DECODING, Evidence
from simulst.errors import ModelError
from simulst.models.attention import choose_heads, whole_layers
from simulst.models.checkpoint import load_pretrained
from simulst.models.decoding import Candidate
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.recorded import ROWS, register
from simulst.models.seq2seq.decoder_run import DecoderRun
from simulst.models.seq2seq.session import Seq2SeqSession
from simulst.models.seq2seq.translator import ManyTongues
from simulst.models.seq2seq.weights import Seq2SeqOptions
from simulst.models.seq2seq.windows import EncodedWindow, WhisperWindow
from simulst.models.vocabulary import TOKENIZER_FILE, TokenizerVocabulary, read_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, WhisperFeatureExtractor

PROVIDES = DECODING | {Evidence.NO_SPEECH}
UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
DETECT_S = 4.0
"""The source language is guessed anew until this much audio was heard."""
MAX_SOURCE_S = 28.0
BASE_HEADS = ((4, 3), (4, 7))
"""Of the eight heads that Whisper base names itself the two that follow the speech best when it translates: on joined
German clips token order and attended time correlate by 0.92 inside a clip, by 0.86 with all eight, all tokens in their
own clip either way (`simulst calibrate` finds such sets for other checkpoints)."""


@dataclass(frozen=True, kw_only=True)
class Options(Seq2SeqOptions):
    task: Literal["translate", "transcribe"] | None = option(
        None, "translate into English or transcribe; none: as the checkpoint says, else translate"
    )
    source: str | None = option(
        None, "language code of the speech such as de; none: as the checkpoint says, else guessed"
    )
    padding_s: float = option(
        5.0,
        "seconds of silence that are encoded after the audio; 30 is Whisper's published form",
        at_least=0.5,
        at_most=30,
    )
    min_source_s: float = option(
        2.0, "no text before this much audio of a stream; shorter clips end in invented words", at_least=0, at_most=20
    )
    context_tokens: int = option(
        0, "how many tokens of forgotten text are given as <|startofprev|> context", at_least=0, at_most=200
    )
    names: str = option(
        "", "names and rare words that will be said, given as <|startofprev|> context: 'Kaldi, Vaswani'"
    )
    no_speech: float = option(0.6, "no text where the model says 'no speech' with more than this probability; 1: off")


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "Whisper":
    """A Whisper checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    pieces, _ = read_tokenizer(directory / TOKENIZER_FILE)
    register()
    model = load_pretrained(
        WhisperForConditionalGeneration, directory, device=device, dtype=dtype, attention=ROWS, quantised=True
    )
    extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    return Whisper(name, directory, model, extractor, pieces, options)


class Whisper(ManyTongues):
    """Weights of Whisper with a prompt of language and task."""

    provides = PROVIDES
    median_s = 0.14  # 7 frames of 20 ms
    tokens_per_second = 8.0  # byte-level pieces of non-Latin scripts are short

    def __init__(
        self,
        name: str,
        directory: Path,
        model: "PreTrainedModel",
        extractor: "WhisperFeatureExtractor",
        pieces: Sequence[bytes],
        options: Options,
    ) -> None:
        config, generation = model.config, model.generation_config.to_dict()
        self.generation = generation
        self.start_id = int(config.decoder_start_token_id)
        self.languages: dict[str, int] = {
            token.strip("<|>"): int(id_) for token, id_ in (generation.get("lang_to_id") or {}).items()
        }
        self.task = self._task(name, options)
        self.source: str | None = self._source(name, options)
        # Everything from the end-of-text mark on is a mark: languages, tasks, timestamps.
        eos = int(config.eos_token_id)
        vocabulary = TokenizerVocabulary(
            directory / TOKENIZER_FILE, pieces, eos=eos, special=range(eos, int(config.vocab_size)), spaced=self._spaced
        )
        window = WhisperWindow(model.get_encoder(), extractor, padding_s=options.padding_s)
        layers = int(config.decoder_layers)
        default = generation.get("alignment_heads") or whole_layers(
            range(layers // 2, layers), int(config.decoder_attention_heads)
        )
        if self.languages and (layers, int(config.d_model)) == (6, 512):
            default = BASE_HEADS
        super().__init__(
            name=name,
            directory=directory,
            model=model,
            encoder=window,
            vocabulary=vocabulary,
            options=options,
            heads=choose_heads(directory, options.heads_file, default),
            max_source_s=min(MAX_SOURCE_S, window.max_samples / SAMPLE_RATE),
            positions=int(config.max_target_positions),
        )
        self.whisper_options = options
        self.names = self._spelled(options.names, vocabulary)

    def open(self) -> "WhisperSession":
        return WhisperSession(self)

    @property
    def _spaced(self) -> bool:
        return self.task == "translate" or self.source not in UNSPACED

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Into English from every language, and every language transcribed; the one it was loaded for first."""
        own = Pair(source=self.source or "", target="en" if self.task == "translate" else self.source or "")
        if not self.multilingual:
            return (own,)
        codes = ["", *self.languages]
        known = [Pair(source=code, target="en") for code in codes if code != "en"]
        known += [Pair(source=code, target=code) for code in codes]
        return (own, *(pair for pair in known if pair != own))

    def for_pair(self, pair: Pair) -> Self:
        """The same weights with another prompt."""
        other = copy.copy(self)
        other.task, other.source = pair.task, pair.source or None
        other.vocabulary = copy.copy(self.vocabulary)
        other.vocabulary.spaced = other._spaced
        return other

    @property
    def multilingual(self) -> bool:
        return bool(self.languages)

    def suppressed(self) -> frozenset[int]:
        return frozenset(self.generation.get("suppress_tokens") or ())

    def prompt(self, language: str | None = None, task: str | None = None) -> tuple[int, ...]:
        """Start mark, language, task, no timestamps; English-only checkpoints know neither language nor task."""
        marks = [self.start_id]
        if self.multilingual:
            language = language or self.source or "en"
            tasks = self.generation.get("task_to_id") or {}
            marks += [self.languages[language], int(tasks[task or self.task])]
        return (*marks, int(self.generation["no_timestamps_token_id"]))

    def before(self, context: Sequence[int]) -> tuple[int, ...]:
        """What stands in front of the prompt: names that will be said, then forgotten text; nothing without them."""
        if not (self.names or context):
            return ()
        previous = self.generation.get("prev_sot_token_id")
        return () if previous is None else (int(previous), *self.names, *context)

    def _spelled(self, names: str, vocabulary: TokenizerVocabulary) -> tuple[int, ...]:
        ids = tuple(vocabulary.encode(f" {names}")) if names.strip() else ()
        if ids and self.generation.get("prev_sot_token_id") is None:
            raise ModelError(f"{self.name} has no <|startofprev|> mark, so it takes no option 'names'.")
        if len(ids) > self.positions // 4:
            raise ModelError(
                f"Option 'names' of {self.name} has {len(ids)} tokens; at most {self.positions // 4} leave room."
            )
        return ids

    def _task(self, name: str, options: Options) -> str:
        configured = self.generation.get("task")
        if not self.multilingual:
            if options.task == "translate":
                raise ModelError(f"{name} is an English-only Whisper and cannot translate; use a multilingual one.")
            return "transcribe"
        return str(options.task or configured or "translate")

    def _source(self, name: str, options: Options) -> str | None:
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        wanted = options.source or self.generation.get("language")
        if not self.multilingual:
            if wanted not in (None, "en", "english"):
                raise ModelError(f"{name} is an English-only Whisper; option 'source' must be en, not '{wanted}'.")
            return "en"
        if wanted is None:
            return None
        code: str = TO_LANGUAGE_CODE.get(str(wanted).lower(), str(wanted).lower()).strip("<|>")
        if code not in self.languages:
            known = ", ".join(sorted(self.languages))
            raise ModelError(f"{name} does not know the source language '{wanted}'; it knows: {known}.")
        return code


class WhisperSession(Seq2SeqSession):
    """A stream on Whisper; its source language is guessed from the first seconds unless it was given."""

    translator: Whisper
    _language: str | None

    def __init__(self, translator: Whisper) -> None:
        super().__init__(translator)
        self._language: str | None = translator.source

    def _encoded(self, prefix: tuple[int, ...] = ()) -> EncodedWindow | None:
        """None too for the first moments of a stream, unless it has ended."""
        wanted = self.translator.whisper_options.min_source_s
        if not (prefix or self._source.is_final or self._source.start) and self.heard_s < wanted:
            return None
        return super()._encoded(prefix)

    def _prompt(self, window: EncodedWindow) -> tuple[int, ...]:
        wanted = self.translator.whisper_options.context_tokens
        before = self.translator.before(self._forgotten[-wanted:] if wanted else ())
        return (*before, *self.translator.prompt(self._detected(window)))

    def _transcript_prompt(self, window: EncodedWindow) -> tuple[int, ...] | None:
        return (*self.translator.before(()), *self.translator.prompt(self._detected(window), "transcribe"))

    def _detected(self, window: EncodedWindow) -> str | None:
        """The language of the stream: given, or the likeliest after the start mark, kept once enough was heard."""
        if self._language is not None or not self.translator.multilingual:
            return self._language
        run = DecoderRun(self.translator, window, rows=False)
        step, _ = run.start([self.translator.start_id], ())
        codes = list(self.translator.languages)
        scores = step.logits[0, [self.translator.languages[code] for code in codes]]
        guess = codes[int(scores.argmax())]
        if self.heard_s - self.start_s >= DETECT_S:
            self._language = guess
        return guess

    def _suppress_first(self, prefix: tuple[int, ...]) -> Sequence[int]:
        """Neither a space nor the end as the very first token; after committed text the end is a fair answer."""
        if prefix:
            return ()
        return list(self.translator.generation.get("begin_suppress_tokens") or ())

    def _reviewed(self, found: Candidate, run: DecoderRun, prefix: tuple[int, ...]) -> Candidate:
        """No text where the model finds no speech and is unsure of its words (the rule of the published decoder)."""
        threshold = self.translator.whisper_options.no_speech
        if prefix or not found.ids or threshold >= 1 or found.score > -1.0 or run.prompt_hidden is None:
            return found
        probability = self._no_speech(run)
        if probability is None or probability <= threshold:
            return found
        return replace(found, ids=(), logprobs=(), rows=(), stop="eos", next_id=None)

    def _no_speech(self, run: DecoderRun) -> float | None:
        """Probability of the mark "no speech" after the start mark."""
        if run.prompt_hidden is None:
            return None
        marks = self.translator.prompt("en" if self.translator.multilingual else None)
        start = run.prompt_hidden[len(run.prompt_hidden) - len(marks)]
        silence = int(self.translator.generation["no_timestamps_token_id"]) - 1
        return float(torch.softmax(run.scores(start[None]).float(), dim=-1)[0, silence])


def _provides(directory: Path, options: Options) -> frozenset[Evidence]:
    return PROVIDES


FAMILY = ModelFamily(
    name="whisper", options=Options, provides=_provides, load=load, hub="openai/whisper-large-v3-turbo"
)
