"""Phi-4 multimodal: a conformer of 12.5 embeddings a second, Phi after Phi's own prompt.

Microsoft 2025, "Phi-4-Mini Technical Report" (2503.01743). Its encoder attends to all of the audio, so all is encoded
again. What its language model learned about speech is an adapter in `speech-lora`, which needs peft.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.errors import ModelError
from simulst.models.audio_llm.encoder import Block, part
from simulst.models.audio_llm.options import Options
from simulst.models.audio_llm.prompts import AudioPrompt, instruction, prompt_of
from simulst.models.audio_llm.translator import AudioLLM, provides, read_audio_llm
from simulst.models.checkpoint import read_json
from simulst.models.family import ModelFamily
from simulst.models.seq2seq.windows import EncodedWindow
from simulst.models.text.local import load_tokenizer

ADAPTER = "speech-lora"
INSTRUCT = "<|user|>{mark}{told}<|end|><|assistant|>"
MAX_SOURCE_S = 40.0
"""Longer audio is encoded in stretches of so much."""


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> AudioLLM:
    """A checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import Phi4MultimodalForCausalLM

    tokenizer = load_tokenizer(directory)
    return read_audio_llm(
        Phi4MultimodalForCausalLM, directory, options, name=name, device=device, dtype=dtype,
        tokenizer=tokenizer, read_prompt=partial(read_prompt, mark=mark_of(tokenizer, directory, name)),
        window=Phi4MultimodalWindow, max_source_s=MAX_SOURCE_S, adapter=directory / ADAPTER,
        positions=lambda config: min(config.max_position_embeddings, config.original_max_position_embeddings),
    )  # fmt: skip


def mark_of(tokenizer: Any, directory: Path, name: str) -> str:
    """The mark that stands for the audio, which releases of the tokenizer name differently."""
    config = read_json(directory / "config.json").get("audio_config")
    token = config.get("audio_token_id", 200_011) if isinstance(config, dict) else 200_011
    known = {number: text for text, number in tokenizer.get_vocab().items()}
    if token not in known:
        raise ModelError(
            f"The tokenizer of {name} has no token {token}, the mark of the audio: it is another model's, or its files "
            "are not there."
        )
    return str(known[token])


def read_prompt(tokenizer: Any, options: Options, name: str, *, mark: str) -> AudioPrompt:
    """A turn with the audio and what is to be done with it."""
    told = instruction(options)
    text = told if mark in told else INSTRUCT.replace("{mark}", mark).replace("{told}", told)
    return prompt_of(tokenizer, text, mark=mark, name=name)


class Phi4MultimodalWindow:
    """The encoder, and the projector that it has for speech without images."""

    frame_samples = 1280
    min_samples = 1600
    max_samples = int(MAX_SOURCE_S * SAMPLE_RATE)

    def __init__(self, model: Any) -> None:
        from transformers import Phi4MultimodalFeatureExtractor

        heard = part(model, "audio_embed")
        self.encoder, self.up, self.down = heard.encoder, heard.up_proj_for_speech, heard.down_proj_for_speech
        self.extractor = Phi4MultimodalFeatureExtractor(feature_size=int(self.encoder.config.input_size))

    def encode(self, samples: FloatArray, blocks: list[Block] | None = None) -> EncodedWindow:
        """The embeddings; audio is one block, which every chunk changes."""
        found = self.extractor(samples[-self.max_samples :], sampling_rate=SAMPLE_RATE, return_tensors="pt")
        weight = self.up.weight
        with torch.inference_mode():
            states = self.encoder(found.audio_input_features.to(weight.device, weight.dtype), None)
            embeds = self.down(torch.nn.functional.gelu(self.up(states)))[:, : int(found.audio_embed_sizes[0])]
        return EncodedWindow(states=embeds, n_valid=int(embeds.shape[1]))


FAMILY = ModelFamily(
    name="phi4_multimodal", options=Options, provides=provides, load=load, hub="microsoft/Phi-4-multimodal-instruct"
)
