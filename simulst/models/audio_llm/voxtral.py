"""Voxtral: Whisper's encoder over stretches of 30 s, 12.5 embeddings a second, Mistral after Mistral's own prompt.

Liu et al. 2025, "Voxtral". A stretch that is over is not encoded again; the last one is filled up with silence, which
takes part, as published: `padding_s` below 30 encodes less of it.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.models.audio_llm.encoder import Block, part
from simulst.models.audio_llm.options import Options
from simulst.models.audio_llm.prompts import AudioPrompt, instruction, prompt_of
from simulst.models.audio_llm.translator import AudioLLM, provides, read_audio_llm
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.seq2seq.windows import EncodedWindow, whisper_states
from simulst.models.text.local import load_tokenizer

MARK = "[AUDIO]"
INSTRUCT = "<s>[INST][BEGIN_AUDIO][AUDIO]{told}[/INST]"
TRANSCRIBE = "<s>[INST][BEGIN_AUDIO][AUDIO][/INST]{language}[TRANSCRIBE]"
MAX_SOURCE_S = 120.0
"""Far below what its 32,000 positions hold; longer prompts only cost more."""
BLOCK_S = 30


@dataclass(frozen=True, kw_only=True)
class VoxtralOptions(Options):
    padding_s: float = option(
        30.0, "silence behind the audio that is encoded too; 30 is the published form", at_least=0.5, at_most=30
    )


def load(directory: Path, options: VoxtralOptions, *, name: str, device: str, dtype: str | None) -> AudioLLM:
    """A Voxtral checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import VoxtralForConditionalGeneration

    return read_audio_llm(
        VoxtralForConditionalGeneration, directory, options, name=name, device=device, dtype=dtype,
        tokenizer=load_tokenizer(directory), read_prompt=read_prompt,
        window=partial(VoxtralWindow, padding_s=options.padding_s), max_source_s=MAX_SOURCE_S,
    )  # fmt: skip


def read_prompt(tokenizer: Any, options: Options, name: str) -> AudioPrompt:
    """Audio and instruction, or the request of a transcript, for which Voxtral has a mark."""
    told = instruction(options)
    if MARK in told:
        text = told
    elif options.task == "transcribe" and not options.prompt:
        text = TRANSCRIBE.replace("{language}", f"lang:{options.source}" if options.source else "")
    else:
        text = INSTRUCT.replace("{told}", told)
    return prompt_of(tokenizer, text, mark=MARK, name=name)


class VoxtralWindow:
    """Voxtral's encoder and projector."""

    frame_samples = 1280
    min_samples = 1600
    max_samples = int(1.5 * MAX_SOURCE_S * SAMPLE_RATE)

    def __init__(self, model: Any, *, padding_s: float) -> None:
        from transformers import WhisperFeatureExtractor

        self.tower, self.projector = part(model, "audio_tower"), part(model, "multi_modal_projector")
        self.width = int(self.tower.config.intermediate_size)
        self.padding_s = padding_s
        self.extractor = WhisperFeatureExtractor(feature_size=int(self.tower.config.num_mel_bins))

    def encode(self, samples: FloatArray, blocks: list[Block] | None = None) -> EncodedWindow:
        """The embeddings; stretches of 30 s that are as they were are not encoded again."""
        samples = samples[-self.max_samples :]
        mel = self._mel(samples)
        parts = torch.split(mel, 100 * BLOCK_S, dim=-1)
        known, made = blocks or [], list[Block]()
        for at, features in enumerate(parts):
            same = at < len(known) and torch.equal(known[at][0], features)
            made.append(known[at] if same else (features, self._block(features)))
        if blocks is not None:
            blocks[:] = made
        states = torch.cat([states for _, states in made], dim=1)
        return EncodedWindow(states=states, n_valid=min(-(-len(samples) // self.frame_samples), states.shape[1]))

    def _mel(self, samples: FloatArray) -> Tensor:
        """Features [1, bins, frames] of whole stretches, the last with as much silence as is encoded."""
        whole = -(-len(samples) // (BLOCK_S * SAMPLE_RATE))
        found = self.extractor(
            samples,
            sampling_rate=SAMPLE_RATE,
            padding="max_length",
            max_length=whole * BLOCK_S * SAMPLE_RATE,
            return_tensors="pt",
        )
        wanted = math.ceil((len(samples) / SAMPLE_RATE + self.padding_s) / 2) * 200  # few shapes: kernels are cached
        features: Tensor = found.input_features[..., :wanted]
        return features

    def _block(self, features: Tensor) -> Tensor:
        with torch.inference_mode():
            states = self.tower.layer_norm(whisper_states(self.tower, features))
            embeds: Tensor = self.projector(states.reshape(1, -1, self.width))
        return embeds


FAMILY = ModelFamily(
    name="voxtral", options=VoxtralOptions, provides=provides, load=load, hub="mistralai/Voxtral-Mini-3B-2507"
)
