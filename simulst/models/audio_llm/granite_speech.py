"""Granite Speech: a conformer that attends in blocks of 4 s, a projector of 10 embeddings a second, Granite after it.

Saon et al. 2025, "Granite-speech: open-source speech-aware LLMs with strong English ASR capabilities". Scores are
divided by `logits_scaling`, as the language model was trained; transformers 5.23 leaves that out for speech.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.models.audio_llm.encoder import Block, part
from simulst.models.audio_llm.options import Options
from simulst.models.audio_llm.prompts import AudioPrompt, chat_prompt, chat_tokenizer, instruction
from simulst.models.audio_llm.translator import AudioLLM, provides, read_audio_llm
from simulst.models.family import ModelFamily
from simulst.models.seq2seq.windows import EncodedWindow

MARK = "<|audio|>"
MAX_SOURCE_S = 40.0


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> AudioLLM:
    """A Granite Speech checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import GraniteSpeechForConditionalGeneration

    return read_audio_llm(
        GraniteSpeechForConditionalGeneration, directory, options, name=name, device=device, dtype=dtype,
        tokenizer=chat_tokenizer(directory), read_prompt=read_prompt, window=GraniteSpeechWindow,
        max_source_s=MAX_SOURCE_S,
        scale=lambda config: float(config.logits_scaling), adapter=directory,
    )  # fmt: skip


def read_prompt(tokenizer: Any, options: Options, name: str) -> AudioPrompt:
    """A turn with the audio and what is to be done with it."""
    told = instruction(options)
    return chat_prompt(tokenizer, [{"role": "user", "content": MARK + told}], mark=MARK, told=told, name=name)


class GraniteSpeechWindow:
    """Granite Speech's encoder and projector over features that are normalised over the window."""

    min_samples = 1600
    max_samples = int(1.5 * MAX_SOURCE_S * SAMPLE_RATE)

    def __init__(self, model: Any) -> None:
        self.encoder, self.projector = part(model, "encoder"), part(model, "projector")
        self.frame_samples = 320 * int(model.config.downsample_rate)

    def encode(self, samples: FloatArray, blocks: list[Block] | None = None) -> EncodedWindow:
        """The embeddings; convolutions reach over the blocks of attention, so all is encoded again."""
        samples = samples[-self.max_samples :]
        weight = self.encoder.input_linear.weight
        with torch.inference_mode():
            features = features_of(torch.from_numpy(samples)).to(weight.device, weight.dtype)
            embeds = self.projector(self.encoder(features).last_hidden_state)
        n_valid = min(int(embeds.shape[1]), -(-len(samples) // self.frame_samples))
        return EncodedWindow(states=embeds, n_valid=n_valid)


def features_of(samples: Tensor) -> Tensor:
    """[1, frames, 160]: two log-mel frames of 10 ms each, as torchaudio and Granite's extractor make them."""
    window = torch.hann_window(400)
    spectrum = torch.stft(samples.float(), 512, 160, 400, window, pad_mode="reflect", return_complex=True)
    mel = (spectrum.abs().square().T @ _filters()).clamp(min=1e-10).log10()
    mel = torch.maximum(mel, mel.max() - 8.0) / 4 + 1
    return mel[: len(mel) // 2 * 2].reshape(1, -1, 160)


@cache
def _filters() -> Tensor:
    from transformers.audio_utils import mel_filter_bank

    found = mel_filter_bank(257, 80, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE, norm=None, mel_scale="htk")
    return torch.from_numpy(found).float()


FAMILY = ModelFamily(
    name="granite_speech", options=Options, provides=provides, load=load, hub="ibm-granite/granite-speech-3.3-2b"
)
