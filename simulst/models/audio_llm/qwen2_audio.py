"""Qwen2-Audio: Whisper's encoder over 30 s at most, Qwen2 after a chat template.

Chu et al. 2024, "Qwen2-Audio Technical Report". Its encoder does not see the silence behind the audio: none is encoded.
"""

from pathlib import Path
from typing import Any

import torch

from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.models.audio_llm.encoder import Block, part
from simulst.models.audio_llm.options import Options
from simulst.models.audio_llm.prompts import AudioPrompt, chat_prompt, chat_tokenizer, instruction
from simulst.models.audio_llm.translator import AudioLLM, provides, read_audio_llm
from simulst.models.family import ModelFamily
from simulst.models.seq2seq.windows import EncodedWindow, whisper_states

MARK = "<|AUDIO|>"
MAX_SOURCE_S = 30.0
"""The encoder has positions for no more."""


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> AudioLLM:
    """A Qwen2-Audio checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import Qwen2AudioForConditionalGeneration

    return read_audio_llm(
        Qwen2AudioForConditionalGeneration, directory, options, name=name, device=device, dtype=dtype,
        tokenizer=chat_tokenizer(directory), read_prompt=read_prompt, window=Qwen2AudioWindow,
        max_source_s=MAX_SOURCE_S,
    )  # fmt: skip


def read_prompt(tokenizer: Any, options: Options, name: str) -> AudioPrompt:
    """A turn with the audio and what is to be done with it."""
    told = instruction(options)
    content = [{"type": "audio", "audio_url": "audio"}, {"type": "text", "text": told}]
    return chat_prompt(tokenizer, [{"role": "user", "content": content}], mark=MARK, told=told, name=name)


class Qwen2AudioWindow:
    """Qwen2-Audio's encoder and projector: 25 embeddings a second."""

    frame_samples = 640
    min_samples = 1600
    max_samples = 480_000

    def __init__(self, model: Any) -> None:
        from transformers import WhisperFeatureExtractor

        self.tower, self.projector = part(model, "audio_tower"), part(model, "multi_modal_projector")
        self.extractor = WhisperFeatureExtractor(feature_size=int(self.tower.config.num_mel_bins))

    def encode(self, samples: FloatArray, blocks: list[Block] | None = None) -> EncodedWindow:
        """The embeddings; audio is one block, which every chunk changes."""
        samples = samples[-self.max_samples :]
        padded = min(self.max_samples, -(-(len(samples) + 1600) // SAMPLE_RATE) * SAMPLE_RATE)
        found = self.extractor(
            samples, sampling_rate=SAMPLE_RATE, padding="max_length", max_length=padded, return_tensors="pt"
        )
        count = (-(-len(samples) // 160) + 1) // 2 // 2  # mel frames are halved by a convolution, then by pooling
        with torch.inference_mode():
            states = whisper_states(self.tower, found.input_features, (-(-len(samples) // 160) + 1) // 2)
            pooled = self.tower.avg_pooler(states.transpose(1, 2)).transpose(1, 2)[:, :count]
            embeds = self.projector(self.tower.layer_norm(pooled))
        return EncodedWindow(states=embeds, n_valid=count)


FAMILY = ModelFamily(
    name="qwen2_audio", options=Options, provides=provides, load=load, hub="Qwen/Qwen2-Audio-7B-Instruct"
)
