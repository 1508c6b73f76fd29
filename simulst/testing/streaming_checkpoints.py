"""Tiny random checkpoints of recognisers that write as they hear, of the library's own configurations, and what these
write."""

import json
import string
from pathlib import Path
from typing import Any

import numpy as np

from simulst.core.source import FloatArray
from simulst.models.synchronous.session import Emission
from simulst.models.synchronous.translator import SynchronousTranslator
from simulst.testing.audio_checkpoints import write_tekken
from simulst.testing.checkpoints import save_checkpoint
from simulst.testing.noise import noise

_ENCODER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "subsampling_conv_channels": 8,
    "num_mel_bins": 80,
    "sliding_window": 15,
    "initializer_range": 0.3,
}
LOOK_AHEADS = [6, 1, 0]


def tiny_nemotron(directory: Path, *, many: bool = False, silent: float = 0.85, seed: int = 0) -> Path:
    """A Nemotron Speech Streaming of 2 layers, or with `many` languages a Nemotron 3.5, whose chunks of 0.08, 0.16 and
    0.56 s see 14 frames before them; it writes nothing at about the share `silent` of frames."""
    import torch
    from transformers import (
        Nemotron3_5AsrConfig,
        Nemotron3_5AsrForRNNT,
        NemotronAsrStreamingConfig,
        NemotronAsrStreamingForRNNT,
    )

    letters = string.ascii_lowercase
    pieces = ["<unk>", *("\u2581" + letter for letter in letters), *letters, ".", "<en-US>", "<blank>"]
    blank = len(pieces) - 1
    small = {"vocab_size": len(pieces), "blank_token_id": blank, "decoder_hidden_size": 24, "max_symbols_per_step": 3}
    torch.manual_seed(seed)
    if many:
        told = {"num_prompts": 16, "default_prompt_id": 9, "prompt_intermediate_size": 48}
        encoder = {"model_type": "nemotron_asr_streaming_encoder", **_ENCODER}
        model: Any = Nemotron3_5AsrForRNNT(Nemotron3_5AsrConfig(encoder_config=encoder, **small, **told))
    else:
        model = NemotronAsrStreamingForRNNT(NemotronAsrStreamingConfig(encoder_config=_ENCODER, **small))
    with torch.no_grad():
        for part in (model.decoder, model.joint, model.encoder_projector):
            for one in part.parameters():
                one.normal_(std=0.5)
    _tempered(model, blank, silent)
    model.generation_config.decoder_start_token_id = blank
    save_checkpoint(model, directory, pieces, {"<unk>": 0, "<blank>": blank}, byte_level=False)
    processor: dict[str, Any] = {
        "processor_class": "NemotronAsrStreamingProcessor",
        "feature_extractor": {"feature_extractor_type": "NemotronAsrStreamingFeatureExtractor", "feature_size": 80},
        "supported_num_lookahead_tokens": LOOK_AHEADS,
        "default_num_lookahead_tokens": 1,
    }
    if many:
        processor["prompt_dictionary"] = {"en-US": 0, "en": 0, "de": 3, "ja": 4, "auto": 9, "xx": 99}
    (directory / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return directory


def tiny_voxtral_realtime(directory: Path, *, seed: int = 0) -> Path:
    """A Voxtral Realtime of 2 + 2 layers, 16 mel bins and windows of 0.48 s and 1.6 s, which writes 0.16 s behind the
    speech and hears 0.24 s of silence before it."""
    import torch
    from transformers import GenerationConfig, VoxtralRealtimeConfig, VoxtralRealtimeForConditionalGeneration

    marks = ["<unk>", "<s>", "</s>", "[STREAMING_PAD]", "[STREAMING_WORD]"]
    letters = string.ascii_lowercase
    words = [*(f" {letter}".encode() for letter in letters), *(letter.encode() for letter in letters), b"."]
    small = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "head_dim": 8,
    }
    size = len(marks) + len(words)
    config = VoxtralRealtimeConfig(
        audio_config={**small, "num_mel_bins": 16, "sliding_window": 24, "initializer_range": 0.3},
        text_config={
            **small, "vocab_size": size, "num_key_value_heads": 2, "sliding_window": 20, "initializer_range": 0.3,
            "tie_word_embeddings": False,
        },
        tie_word_embeddings=False,
        default_num_delay_tokens=2,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = VoxtralRealtimeForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.weight[2] = 0  # an end would stop the library
        model.lm_head.weight[3] *= 3
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2)
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    audio = {"transcription_format": "streaming", "transcription_delay_ms": 160.0, "streaming_n_left_pad_tokens": 3}
    write_tekken(directory, marks, words, audio=audio)
    extractor = {"feature_extractor_type": "VoxtralRealtimeFeatureExtractor", "feature_size": 16}
    processor = {"processor_class": "VoxtralRealtimeProcessor", "feature_extractor": extractor}
    (directory / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return directory


def heard(model: SynchronousTranslator, audio: FloatArray, sizes: list[int]) -> list[Emission]:
    """What is written about audio that comes in pieces of these sizes, again and again."""
    session, at, turn = model.open(), 0, 0
    while at < len(audio):
        session.extend_source(audio[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    session.extend_source(audio[:0], is_final=True)
    return session._emitted


def _tempered(model: Any, blank: int, silent: float) -> None:
    """Let frames of noise differ, of which random layers make nearly the same, and at so many of them write nothing."""
    import torch
    from transformers import NemotronAsrStreamingFeatureExtractor

    audio = noise(6.0, seed=3) * np.repeat(np.random.default_rng(3).uniform(0.01, 1, 60), 1600)
    heard = NemotronAsrStreamingFeatureExtractor()(audio.astype(np.float32), sampling_rate=16_000, return_tensors="pt")
    projector, joint = model.encoder_projector, model.joint
    with torch.no_grad():
        frames = model.eval().get_audio_features(heard.input_features, num_lookahead_tokens=1).pooler_output[0]
        spread = frames.std(0) / 2
        projector.weight /= spread[:, None]
        projector.bias.copy_((projector.bias - frames.mean(0)) / spread)
        said = model.decoder(torch.arange(blank)[:, None])[:, 0]
        scores = joint(said[:, None], ((frames - frames.mean(0)) / spread)[None])
        joint.head.bias[blank] += (scores[..., :blank].amax(-1) - scores[..., blank]).quantile(silent)
