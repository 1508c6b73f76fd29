"""Voxtral Realtime: a causal audio encoder whose frames are added to a language model's last tokens, 12.5 a second.

A token is written for every frame, a fixed delay after it was heard: a piece of a word, or a mark for silence. Both
halves attend to a window, so a stream may last for hours. Mistral AI 2026, "Voxtral Realtime".
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simulst.core.languages import Pair
from simulst.core.settings import read, setting
from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.errors import ModelError
from simulst.models.checkpoint import load_pretrained, read_json
from simulst.models.decoding import refuse_nan
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.synchronous.features import MelChunks, MelSettings, mel_settings, read_processor
from simulst.models.synchronous.session import Emission
from simulst.models.synchronous.translator import SynchronousOptions, SynchronousTranslator, provides
from simulst.models.vocabulary import PieceVocabulary

TEKKEN_FILE = "tekken.json"
BEGIN, END, SILENT = "<s>", "</s>", "[STREAMING_PAD]"
MOST_DELAY_MS = 2400
WORD_FRAMES = 10
"""Frames of silence after the end in which a word that was begun is finished, as the published processor has it."""
LANGUAGES = ("en", "ar", "de", "es", "fr", "hi", "it", "ja", "ko", "nl", "pt", "ru", "zh")


@dataclass(frozen=True, kw_only=True)
class Options(SynchronousOptions):
    source: str | None = option(
        None, "language of the speech such as ja, for where its words begin; the model finds out by itself"
    )


@dataclass(frozen=True, kw_only=True)
class VoxtralMel(MelSettings):
    """Of its spectrogram, whose loudest bin is given."""

    feature_size: int = setting(128, "mel bins", at_least=1, at_most=512)
    n_fft: int = setting(400, "samples of a frame", at_least=16, at_most=8192)
    global_log_mel_max: float = setting(1.5, "logarithm of the loudest bin", at_least=-100, at_most=100)


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """What the tokenizer's file says of streams."""

    transcription_delay_ms: float = setting(480.0, "delay of the text", at_least=0, at_most=MOST_DELAY_MS)
    streaming_n_left_pad_tokens: int = setting(32, "frames of silence before a stream", at_least=0, at_most=1000)


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "VoxtralRealtime":
    """A checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import VoxtralRealtimeForConditionalGeneration

    pieces, marks, streaming = read_tekken(directory)
    _, extractor = read_processor(directory)
    model = load_pretrained(VoxtralRealtimeForConditionalGeneration, directory, device=device, dtype=dtype)
    config = model.config
    size = int(config.text_config.vocab_size)
    if missing := [mark for mark in (BEGIN, END, SILENT) if marks.get(mark, size) >= size]:
        raise ModelError(f"The tokenizer of {name} does not know {missing[0]}, or it is not the model's.")
    mel = mel_settings(VoxtralMel, extractor, directory, bins=int(config.audio_config.num_mel_bins))
    if int(config.audio_length_per_tok) != 2 * int(config.downsample_factor):
        raise ModelError(
            f"{name} makes a token of {config.audio_length_per_tok} frames, but its encoder takes "
            f"{2 * config.downsample_factor} together."
        )
    frame_samples = int(config.audio_length_per_tok) * mel.hop_length
    return VoxtralRealtime(
        name=name,
        directory=directory,
        model=model,
        mel=mel,
        vocabulary=PieceVocabulary(pieces, eos=marks[END], special=marks.values()),
        marks=marks,
        before=streaming.streaming_n_left_pad_tokens,
        delay=_delay(options.delay_ms, streaming, name, frame_ms=frame_samples / 16),
        frame_samples=frame_samples,
        source=options.source,
    )


def read_tekken(directory: Path) -> tuple[list[bytes], dict[str, int], Streaming]:
    """Bytes of every token, ids of the marks, and what is said of streams; ModelError where it cannot be read."""
    path = directory / TEKKEN_FILE
    told = read_json(path)
    audio = told.get("audio")
    if not isinstance(audio, Mapping) or "streaming_n_left_pad_tokens" not in audio:
        raise ModelError(f"{path} says nothing of streams; it is the tokenizer of another Voxtral.")
    known = {key: audio[key] for key in Streaming.__dataclass_fields__ if key in audio}
    try:
        count = int(told["config"]["default_num_special_tokens"])
        size = int(told["config"]["default_vocab_size"])
        marks = {str(one["token_str"]): int(one["rank"]) for one in told["special_tokens"]}
        words = [base64.b64decode(one["token_bytes"]) for one in told["vocab"][: max(0, size - count)]]
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ModelError(f"{path} cannot be read: {error or type(error).__name__}.") from error
    if not all(0 <= rank < count <= 100_000 for rank in marks.values()):
        raise ModelError(f"{path} has marks outside the first {count} tokens.")
    return [b""] * count + words, marks, read(Streaming, known, str(path), ModelError)


def _delay(wanted_ms: int | None, streaming: Streaming, name: str, *, frame_ms: float) -> int:
    """Frames between a frame and the token about it."""
    delay_ms = streaming.transcription_delay_ms if wanted_ms is None else wanted_ms
    if delay_ms % frame_ms or not frame_ms <= delay_ms <= MOST_DELAY_MS:
        raise ModelError(
            f"{name} cannot write {delay_ms:g} ms behind the speech; delay_ms is a multiple of {frame_ms:g} up to "
            f"{MOST_DELAY_MS}: {streaming.transcription_delay_ms:g} as published, 240 for less delay, 960 for fewer "
            "errors."
        )
    return int(delay_ms / frame_ms)


class VoxtralRealtime(SynchronousTranslator):
    """Weights of Voxtral Realtime."""

    def __init__(
        self, *, model: Any, mel: VoxtralMel, marks: Mapping[str, int], before: int, delay: int, **shared: Any
    ) -> None:
        from transformers import VoxtralRealtimeFeatureExtractor

        super().__init__(device=model.device, **shared)
        self.model, self.mel, self.before, self.delay = model, mel, before, delay
        self.extractor = VoxtralRealtimeFeatureExtractor(**vars(mel))
        self.silent, self.end = marks[SILENT], marks[END]
        self.prompt = (marks[BEGIN], *[self.silent] * (before + delay))
        self.step_frames = self.frame_samples // mel.hop_length
        self.tokens_per_second = SAMPLE_RATE / self.frame_samples

    def stream(self) -> "VoxtralStream":
        return VoxtralStream(self)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        codes = (self.source or "", "", *LANGUAGES)
        return tuple(dict.fromkeys(Pair(source=code, target=code) for code in codes))

    def chunks(self) -> MelChunks:
        """The chunks of a stream: what the prompt is heard with, and then what one token is."""
        return MelChunks(
            self._features,
            hop=self.mel.hop_length,
            width=self.mel.n_fft,
            first=len(self.prompt) * self.step_frames,
            then=self.step_frames,
            silence=self.before * self.frame_samples,
        )

    def _features(self, samples: FloatArray) -> Tensor:
        """The library drops the last frame, so that it is given one more."""
        more = np.concatenate((samples, np.zeros(self.mel.hop_length, dtype=np.float32)))
        found = self.extractor(more, sampling_rate=SAMPLE_RATE, center=False, return_tensors="pt")
        features: Tensor = found.input_features
        return features


class VoxtralStream:
    """One stream: keys and values of both halves, inputs that convolutions need again, and the last token."""

    def __init__(self, weights: VoxtralRealtime) -> None:
        self.weights = weights
        self.frames = 0
        self._mel = weights.chunks()
        self._received = 0
        self._tokens = weights.prompt
        """What the next frames are heard with."""
        self._keys: Any = None
        self._heard: Any = None
        self._convolved: Any = None

    @property
    def between_words(self) -> bool:
        return self._tokens[-1] in self.weights.vocabulary.special

    def hear(self, samples: FloatArray, *, is_final: bool) -> list[Emission]:
        weights = self.weights
        self._received += len(samples)
        found = list(self._written(self._mel.push(samples)))
        if is_final and self._received:
            whole = -(-self._received // weights.frame_samples) + weights.before + weights.delay + WORD_FRAMES
            found += self._written(self._mel.pad(whole * weights.step_frames))
        return found

    def _written(self, chunks: Iterable[Tensor]) -> Iterator[Emission]:
        for mel in chunks:
            token, logprob = self._next(mel)
            self.frames = self._mel.frames // self.weights.step_frames - self.weights.before
            self._tokens = (self.weights.silent if token == self.weights.end else token,)
            if self.weights.vocabulary.piece(token):
                yield Emission(id=token, frame=self.frames - 1 - self.weights.delay, logprob=logprob)

    def _next(self, mel: Tensor) -> tuple[int, float]:
        """The likeliest token after the last ones, heard with these frames, and its log-probability."""
        model = self.weights.model
        with torch.inference_mode():
            found = model(
                input_ids=torch.tensor([self._tokens], device=model.device),
                input_features=mel.to(model.device, model.dtype),
                past_key_values=self._keys,
                encoder_past_key_values=self._heard,
                padding_cache=self._convolved,
                use_cache=True,
                num_delay_tokens=self.weights.delay,
                logits_to_keep=1,
            )
            self._keys, self._heard = found.past_key_values, found.encoder_past_key_values
            self._convolved = found.padding_cache
            best, token = torch.log_softmax(found.logits[0, -1].float(), dim=-1).max(dim=-1)
            refuse_nan(bool(torch.isnan(best)))
            return int(token), float(best)


FAMILY = ModelFamily(
    name="voxtral_realtime",
    options=Options,
    provides=provides,
    load=load,
    hub="mistralai/Voxtral-Mini-4B-Realtime-2602",
    description="recognition that writes as it hears",
)
