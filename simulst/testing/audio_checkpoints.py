"""Tiny random checkpoints of speech LLMs, of the library's own configurations."""

import json
import string
from pathlib import Path
from typing import Any

from simulst.testing.checkpoints import byte_pieces, save_checkpoint

_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>\n{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GRANITE = (
    "{% for m in messages %}<|start_of_role|>{{ m['role'] }}<|end_of_role|>{{ m['content'] }}<|end_of_text|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)


def tiny_qwen2_audio(directory: Path, *, template: str | None = CHATML, audio: bool = True, seed: int = 0) -> Path:
    """A Qwen2-Audio of 2 + 3 layers; without `audio` its tokenizer does not know the mark of the audio."""
    import torch
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"]
    marks[4] = "<|AUDIO|>" if audio else "<|IMAGE|>"
    pieces = _pieces(marks)
    config = Qwen2AudioConfig(
        audio_config={"model_type": "qwen2_audio_encoder", "num_mel_bins": 128, **_ENCODER},
        text_config={"model_type": "qwen2", "vocab_size": len(pieces), **_TEXT},
        audio_token_index=4,
    )
    torch.manual_seed(seed)
    model = _said(Qwen2AudioForConditionalGeneration(config), ends=[2, 0])
    return _saved(model, directory, pieces, marks, template, eos="<|im_end|>")


def tiny_voxtral(directory: Path, *, seed: int = 0) -> Path:
    """A Voxtral of 2 + 3 layers, with a `tekken.json` as Mistral writes it."""
    import torch
    from transformers import VoxtralConfig, VoxtralForConditionalGeneration

    marks = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", *(f"<SPECIAL_{i}>" for i in range(5, 24)), "[AUDIO]"]
    marks += ["[BEGIN_AUDIO]", *(f"<SPECIAL_{i}>" for i in range(26, 34)), "[TRANSCRIBE]"]
    words = [bytes([byte]) for byte in range(256)] + [f" {letter}".encode() for letter in string.ascii_lowercase]
    config = VoxtralConfig(
        audio_config={"model_type": "voxtral_encoder", "num_mel_bins": 128, **_ENCODER},
        text_config={"model_type": "llama", "vocab_size": len(marks) + len(words), "head_dim": 8, **_TEXT},
        audio_token_id=24,
    )
    torch.manual_seed(seed)
    directory.mkdir(parents=True, exist_ok=True)
    _said(VoxtralForConditionalGeneration(config), ends=2).save_pretrained(directory)
    return write_tekken(directory, marks, words)


def write_tekken(directory: Path, marks: list[str], words: list[bytes], **more: object) -> Path:
    """A `tekken.json` of these marks and words, in which more may stand."""
    import base64

    pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+"
    sizes = {"default_vocab_size": len(marks) + len(words), "default_num_special_tokens": len(marks)}
    tekken = {
        "config": {"pattern": pattern, "version": "v7", **sizes},
        "vocab": [{"rank": i, "token_bytes": base64.b64encode(one).decode()} for i, one in enumerate(words)],
        "special_tokens": [{"rank": i, "token_str": mark, "is_control": True} for i, mark in enumerate(marks)],
        **more,
    }
    (directory / "tekken.json").write_text(json.dumps(tekken), encoding="utf-8")
    return directory


def tiny_granite_speech(directory: Path, *, template: str | None = GRANITE, seed: int = 0) -> Path:
    """A Granite Speech of 2 + 1 + 3 layers whose encoder attends in blocks of 1 s, without an adapter."""
    import torch
    from transformers import GraniteSpeechConfig, GraniteSpeechForConditionalGeneration

    marks = ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|audio|>"]
    pieces = _pieces(marks)
    text = {"model_type": "granite", "vocab_size": len(pieces), "logits_scaling": 2.0, "embedding_multiplier": 3.0}
    config = GraniteSpeechConfig(
        encoder_config={
            "num_layers": 2, "hidden_dim": 32, "feedforward_mult": 2, "num_heads": 4, "context_size": 50,
            "max_pos_emb": 64, "input_dim": 160, "output_dim": 8,
        },
        projector_config={
            "model_type": "blip_2_qformer", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
            "intermediate_size": 64, "encoder_hidden_size": 32, "cross_attention_frequency": 1,
        },
        text_config={**_TEXT, **text, "attention_multiplier": 0.3, "residual_multiplier": 0.5},
        audio_token_index=3, has_lora_adapter=False, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = _said(GraniteSpeechForConditionalGeneration(config), ends=0)
    return _saved(model, directory, pieces, marks, template, eos="<|end_of_text|>")


def tiny_phi4_multimodal(directory: Path, *, seed: int = 0) -> Path:
    """A Phi-4 multimodal of 2 + 3 layers, without its adapter for speech and nearly without eyes."""
    import torch
    from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM

    marks = ["<|endoftext|>", "<|user|>", "<|end|>", "<|assistant|>", "<|audio|>", "<|image|>"]
    pieces = _pieces(marks)
    config = Phi4MultimodalConfig(
        audio_config={
            "hidden_size": 32, "intermediate_size": 48, "num_blocks": 2, "num_attention_heads": 4, "audio_token_id": 4,
            "ext_pw_out_channel": 32, "depthwise_separable_out_channel": 32, "nemo_conv_channels": 8,
            "initializer_range": 0.3, "bias_max_distance": 40,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 28, "crop_size": 28, "image_token_id": 5,
        },
        vocab_size=len(pieces), pad_token_id=0, bos_token_id=0, eos_token_id=[2, 0],
        original_max_position_embeddings=1024, **_TEXT,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = _said(Phi4MultimodalForCausalLM(config), ends=[2, 0])
    return _saved(model, directory, pieces, marks, None, eos="<|end|>")


_ENCODER: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "initializer_range": 0.3,
}


def _pieces(marks: list[str]) -> list[str]:
    return [*marks, *byte_pieces(), *("\u0120" + letter for letter in string.ascii_lowercase)]


def _said(model: Any, *, ends: int | list[int]) -> Any:
    """The model with its ends named where checkpoints of the hub name them."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(eos_token_id=ends)
    return model.eval()


def _saved(model: Any, directory: Path, pieces: list[str], marks: list[str], template: str | None, *, eos: str) -> Path:
    save_checkpoint(model, directory, pieces, {mark: at for at, mark in enumerate(marks)}, byte_level=True)
    if template is not None:
        (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    content = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos}
    (directory / "tokenizer_config.json").write_text(json.dumps(content), encoding="utf-8")
    return directory
