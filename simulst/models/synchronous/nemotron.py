"""Nemotron ASR: an RNN-T after a FastConformer whose convolutions and attention keep what the next chunk needs.

Nemotron Speech Streaming writes down English, Nemotron 3.5 ASR forty languages. Noroozi et al. 2024 (2312.17279),
"Stateful Conformer with Cache-based Inference for Streaming Automatic Speech Recognition"; Graves 2012 (1211.3711),
"Sequence Transduction with Recurrent Neural Networks".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from simulst.core.languages import Pair
from simulst.core.settings import setting
from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.errors import ModelError
from simulst.models.checkpoint import load_pretrained, read_json
from simulst.models.decoding import refuse_nan
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.synchronous.features import MelChunks, MelSettings, mel_settings, read_processor
from simulst.models.synchronous.session import Emission
from simulst.models.synchronous.translator import SynchronousOptions, SynchronousTranslator, provides
from simulst.models.vocabulary import TOKENIZER_FILE, PieceVocabulary, read_tokenizer

MANY_TONGUES = "nemotron3_5_asr"
"""The architecture that is told the language."""
PAUSE_FRAMES = 8
"""Frames without a token after which the last word counts as whole: 0.64 s."""
MOST_SYMBOLS = 100
_TAG = re.compile(rb" ?<[a-z]{2,3}-[A-Z]{2}>")
"""What Nemotron 3.5 writes where it was not told the language."""


@dataclass(frozen=True, kw_only=True)
class Options(SynchronousOptions):
    source: str | None = option(
        None, "language of the speech such as de or pt-BR; none: Nemotron 3.5 finds out, Nemotron Speech knows English"
    )


@dataclass(frozen=True, kw_only=True)
class NemotronMel(MelSettings):
    """Of its spectrogram, whose samples are lifted first."""

    preemphasis: float | None = setting(0.97, "share of a sample that is taken off the next", at_least=0, at_most=1)
    mel_filters_dtype: Literal["float32", "bfloat16", "float16"] = setting("float32", "precision of the filters")


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "Nemotron":
    """A checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import Nemotron3_5AsrForRNNT, NemotronAsrStreamingForRNNT

    many = read_json(directory / "config.json").get("model_type") == MANY_TONGUES
    pieces, special = read_tokenizer(directory / TOKENIZER_FILE)
    processor, extractor = read_processor(directory)
    kind = Nemotron3_5AsrForRNNT if many else NemotronAsrStreamingForRNNT
    model = load_pretrained(kind, directory, device=device, dtype=dtype)
    config, encoder = model.config, model.config.encoder_config
    blank, tongues = int(config.blank_token_id), _tongues(processor, int(config.num_prompts)) if many else {}
    if not len(pieces) >= int(config.vocab_size) - 1 >= blank >= 0:
        raise ModelError(
            f"The tokenizer of {name} has {len(pieces)} tokens, but it writes {config.vocab_size} with {blank} as the "
            "blank; it is another model's."
        )
    mel = mel_settings(NemotronMel, extractor, directory, bins=int(encoder.num_mel_bins))
    tags = {token for token, piece in enumerate(pieces) if _TAG.fullmatch(piece)}
    return Nemotron(
        name=name,
        directory=directory,
        model=model,
        mel=mel,
        vocabulary=PieceVocabulary(pieces, eos=blank, special=special | tags),
        look_ahead=_look_ahead(processor, options, name, frame_ms=encoder.subsampling_factor * mel.hop_length / 16),
        tongues=tongues,
        source=_source(options.source, tongues, name),
    )


def _tongues(processor: Mapping[str, object], most: int) -> dict[str, int]:
    """Languages and the numbers of their prompts."""
    from transformers.models.nemotron3_5_asr.processing_nemotron3_5_asr import DEFAULT_PROMPT_DICTIONARY

    told = processor.get("prompt_dictionary")
    known = told if isinstance(told, dict) else DEFAULT_PROMPT_DICTIONARY
    return {str(code): number for code, number in known.items() if isinstance(number, int) and 0 <= number < most}


def _source(wanted: str | None, tongues: Mapping[str, int], name: str) -> str | None:
    if not tongues:
        if wanted not in (None, "en"):
            raise ModelError(f"{name} knows English only; option 'source' must be en, not '{wanted}'.")
        return "en"
    if wanted is not None and wanted not in tongues:
        raise ModelError(f"{name} does not know the language '{wanted}'; it knows: {', '.join(sorted(tongues))}.")
    return None if wanted == "auto" else wanted


def _look_ahead(processor: Mapping[str, object], options: Options, name: str, *, frame_ms: float) -> int:
    """Frames after a frame that its chunk may hold; of a chunk, all are written about together."""
    told = processor.get("supported_num_lookahead_tokens")
    known = [one for one in told if isinstance(one, int) and 0 <= one < 1000] if isinstance(told, list) else []
    known = known or [13, 6, 1, 0]
    if options.delay_ms is None:
        default = processor.get("default_num_lookahead_tokens")
        return default if isinstance(default, int) and default in known else known[0]
    delays = {round((one + 1) * frame_ms): one for one in known}
    if options.delay_ms not in delays:
        listed = ", ".join(map(str, sorted(delays)))
        raise ModelError(f"{name} was not trained for delay_ms={options.delay_ms}; it can wait for {listed} ms.")
    return delays[options.delay_ms]


class Nemotron(SynchronousTranslator):
    """Weights of Nemotron ASR."""

    def __init__(
        self,
        *,
        model: Any,
        mel: NemotronMel,
        look_ahead: int,
        tongues: Mapping[str, int],
        **shared: Any,
    ) -> None:
        from transformers import NemotronAsrStreamingFeatureExtractor

        self.model, self.mel, self.look_ahead, self.tongues = model, mel, look_ahead, tongues
        self.extractor = NemotronAsrStreamingFeatureExtractor(**vars(mel))
        self.factor = int(model.config.encoder_config.subsampling_factor)
        self.blank = int(model.config.blank_token_id)
        self.most = int(model.config.max_symbols_per_step)
        if not 1 <= self.most <= MOST_SYMBOLS:
            raise ModelError(
                f"max_symbols_per_step of {shared['name']} is {self.most}; it must be between 1 and {MOST_SYMBOLS}."
            )
        self.tokens_per_second = self.most * SAMPLE_RATE / (self.factor * mel.hop_length)
        super().__init__(frame_samples=self.factor * mel.hop_length, device=model.device, **shared)

    def stream(self) -> "NemotronStream":
        return NemotronStream(self)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        own = Pair(source=self.source or "", target=self.source or "")
        codes = ["", *(code for code in self.tongues if re.fullmatch("[a-z]{2,3}", code))] if self.tongues else []
        return tuple(dict.fromkeys((own, *(Pair(source=code, target=code) for code in codes))))

    def chunks(self) -> MelChunks:
        """The chunks of a stream: frames up to the first that is written about and what it looks ahead, and so on."""
        first, then = 1 + self.factor * self.look_ahead, self.factor * (1 + self.look_ahead)
        return MelChunks(self._features, hop=self.mel.hop_length, width=self.mel.n_fft, first=first, then=then)

    def _features(self, samples: FloatArray) -> Tensor:
        found = self.extractor(samples, sampling_rate=SAMPLE_RATE, center=False, return_tensors="pt")
        features: Tensor = found.input_features
        return features

    def told(self) -> dict[str, Tensor]:
        """What the encoder is told about the language."""
        if not self.tongues:
            return {}
        known = self.model.config.default_prompt_id if self.source is None else self.tongues[self.source]
        return {"prompt_ids": torch.tensor([int(known)], device=self.device)}


class NemotronStream:
    """One stream: what convolutions and attention keep, and the state of the prediction network."""

    def __init__(self, weights: Nemotron) -> None:
        self.weights = weights
        self.frames = 0
        self._mel = weights.chunks()
        self._received = 0
        self._keys: Any = None
        self._convolved: Any = None
        self._quiet = 0
        """Frames since the last token."""
        self._predict(weights.blank, None)

    @property
    def between_words(self) -> bool:
        return self._quiet >= PAUSE_FRAMES

    def hear(self, samples: FloatArray, *, is_final: bool) -> list[Emission]:
        self._received += len(samples)
        found = list(self._written(self._mel.push(samples)))
        if is_final:
            found += self._written(self._mel.pad(self._received // self.weights.mel.hop_length))
        return found

    def _written(self, chunks: Iterable[Tensor]) -> Iterator[Emission]:
        for mel in chunks:
            with torch.inference_mode():
                frames = self._encoded(mel)
                written = self._decoded(frames)
            self.frames += len(frames)
            yield from written

    def _encoded(self, mel: Tensor) -> Tensor:
        """Frames [n, width] of a chunk, as the joint network takes them."""
        model = self.weights.model
        found = model.get_audio_features(
            input_features=mel.to(model.device, model.dtype),
            past_key_values=self._keys,
            padding_cache=self._convolved,
            use_cache=True,
            num_lookahead_tokens=self.weights.look_ahead,
            output_attention_mask=False,
            **self.weights.told(),
        )
        self._keys, self._convolved = found.past_key_values, found.padding_cache
        frames: Tensor = found.pooler_output[0]
        return frames

    def _decoded(self, frames: Tensor) -> list[Emission]:
        """The tokens of a chunk: at each frame until the blank is likeliest, and no more than the model may."""
        found, at, here = list[Emission](), 0, 0
        while at < len(frames):
            scores = self.weights.model.joint(self._prediction, frames[at:]).float()
            best, tokens = torch.log_softmax(scores, dim=-1).max(dim=-1)
            refuse_nan(bool(torch.isnan(best).any()))
            written = (tokens != self.weights.blank).nonzero()
            if not len(written):
                self._quiet += len(frames) - at
                break
            ahead = int(written[0, 0])
            at, here = at + ahead, 0 if ahead else here
            token = int(tokens[ahead])
            found.append(Emission(id=token, frame=self.frames + at, logprob=float(best[ahead])))
            self._predict(token, self._state)
            self._quiet, here = 0, here + 1
            if here >= self.weights.most:
                at, here = at + 1, 0
        return found

    def _predict(self, token: int, state: Any) -> None:
        """The prediction network after one more token."""
        decoder = self.weights.model.decoder
        with torch.inference_mode():
            heard = decoder.embedding(torch.tensor([[token]], device=self.weights.device))
            hidden, self._state = decoder.lstm(heard, state)
            self._prediction = decoder.decoder_projector(hidden)[0]


FAMILY = ModelFamily(
    name="nemotron",
    options=Options,
    provides=provides,
    load=load,
    hub="nvidia/nemotron-speech-streaming-en-0.6b",
    description="recognition that writes as it hears",
)
