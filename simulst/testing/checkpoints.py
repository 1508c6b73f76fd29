"""Tiny random checkpoints of the supported architectures, for tests that need no download: everything is real but the
weights, which are drawn from a seed."""

import json
import string
from pathlib import Path
from typing import Protocol

_LETTERS = string.ascii_lowercase


def tiny_whisper(
    directory: Path, *, multilingual: bool = True, brevity: float = 0.0, seed: int = 0, turbo: bool = False
) -> Path:
    """A Whisper of 2 + 2 layers and 4 heads; token ids are listed in its tokenizer.json. `turbo` has the shape of
    large-v3-turbo: 128 mel bins, more layers and heads in the encoder than in the decoder.

    Random weights hardly ever end a sequence; `brevity` is added to the score of the end-of-text token.
    """
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    pieces = [*byte_pieces(), *("\u0120" + letter for letter in _LETTERS)]
    eos = len(pieces)
    marks = ["<|endoftext|>", "<|startoftranscript|>", "<|de|>", "<|en|>", "<|ja|>", "<|translate|>", "<|transcribe|>"]
    marks += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>", "<|0.00|>", "<|0.02|>"]
    ids = {mark: eos + i for i, mark in enumerate(marks)}
    config = WhisperConfig(
        vocab_size=eos + len(marks),
        d_model=32,
        encoder_layers=3 if turbo else 2,
        decoder_layers=2,
        encoder_attention_heads=8 if turbo else 4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=128 if turbo else 80,
        max_target_positions=96,
        init_std=0.4,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=eos,
        bos_token_id=eos,
        pad_token_id=eos,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    generation: dict[str, object] = {
        "alignment_heads": [[0, 1], [1, 0], [1, 3]],
        "begin_suppress_tokens": [pieces.index("\u0120"), eos],
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "suppress_tokens": [*range(0x20), *range(0x7F, 0x100)],  # printable text only
    }
    if multilingual:
        generation["lang_to_id"] = {mark: ids[mark] for mark in ("<|de|>", "<|en|>", "<|ja|>")}
        generation["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("translate", "transcribe")}
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**generation, eos_token_id=eos)
    with torch.no_grad():
        end = model.proj_out.weight[eos].normal_(std=0.4)  # zero, being the padding too
        model.get_decoder().layer_norm.bias += brevity * end / end.square().sum()
    return save_checkpoint(model, directory, pieces, ids, byte_level=True)


def tiny_moonshine(directory: Path, *, seed: int = 0, width: int = 32) -> Path:
    """A Moonshine of 2 + 2 layers and 4 heads."""
    import torch
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration

    marks = ["<unk>", "<s>", "</s>"]
    pieces = [*marks, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [*("\u2581" + letter for letter in _LETTERS), *_LETTERS, ".", ","]
    config = MoonshineConfig(
        vocab_size=len(pieces),
        hidden_size=width,
        intermediate_size=64,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=4,
        decoder_num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.4,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        pad_token_id=2,
    )
    torch.manual_seed(seed)
    return save_checkpoint(
        MoonshineForConditionalGeneration(config),
        directory,
        pieces,
        {m: i for i, m in enumerate(marks)},
        byte_level=False,
    )


def tiny_moonshine_streaming(directory: Path, *, seed: int = 0) -> Path:
    """A Moonshine Streaming of 2 + 2 layers and 4 heads, its decoder wider than its encoder, which sees 60 ms ahead."""
    import torch
    from transformers import GenerationConfig, MoonshineStreamingConfig, MoonshineStreamingForConditionalGeneration

    marks = ["<unk>", "<s>", "</s>"]
    pieces = [*marks, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [*("\u2581" + letter for letter in _LETTERS), *_LETTERS, ".", ","]
    small = {"intermediate_size": 64, "num_hidden_layers": 2, "initializer_range": 0.4}
    encoder = {
        "hidden_size": 24,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "sliding_windows": [[6, 4], [5, 0]],
    }
    config = MoonshineStreamingConfig(
        encoder_config={**encoder, **small},
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=200,
        vocab_size=len(pieces),
        decoder_start_token_id=1,
        pad_token_id=2,
        **small,
    )
    torch.manual_seed(seed)
    model = MoonshineStreamingForConditionalGeneration(config)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
    return save_checkpoint(model, directory, pieces, {m: i for i, m in enumerate(marks)}, byte_level=False)


def tiny_seamless(directory: Path, *, second: bool = False, seed: int = 0) -> Path:
    """A SeamlessM4T of 1 + 2 layers and 4 heads, English and German; `second` is version 2."""
    import torch
    from transformers import GenerationConfig

    if second:
        from transformers import SeamlessM4Tv2Config as Config
        from transformers import SeamlessM4Tv2ForSpeechToText as Model
    else:
        from transformers import SeamlessM4TConfig as Config
        from transformers import SeamlessM4TForSpeechToText as Model
    marks = ["<pad>", "<unk>", "<s>", "</s>", "__eng__", "__deu__"]
    pieces = [*marks, *("\u2581" + letter for letter in _LETTERS), *_LETTERS, ".", ","]
    config = Config(
        vocab_size=len(pieces),
        hidden_size=32,
        initializer_range=0.3,
        max_position_embeddings=96,
        encoder_layers=1,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=64,
        speech_encoder_layers=1,
        speech_encoder_attention_heads=4,
        speech_encoder_intermediate_size=64,
        num_adapter_layers=1,
        t2u_encoder_layers=1,
        t2u_decoder_layers=1,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=3,
    )
    torch.manual_seed(seed)
    model = Model(config)
    model.generation_config = GenerationConfig(text_decoder_lang_to_code_id={"eng": 4, "deu": 5})
    return save_checkpoint(model, directory, pieces, {m: i for i, m in enumerate(marks)}, byte_level=False)


def tiny_canary(directory: Path, *, seed: int = 0) -> Path:
    """A Canary of 1 + 2 layers and 4 heads that knows English and German."""
    import torch
    from transformers import CanaryConfig, CanaryForConditionalGeneration

    marks = ["<unk>", "<|nospeech|>", "<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|pnc|>", "<|noitn|>"]
    marks += ["<|startofcontext|>", "<|emo:undefined|>", "<|notimestamp|>", "<|nodiarize|>", "<|en|>", "<|de|>"]
    pieces = [*marks, *("\u2581" + letter for letter in _LETTERS), *_LETTERS, ".", ","]
    small = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "initializer_range": 0.3}
    encoder = {"model_type": "parakeet_encoder", "num_hidden_layers": 1, "num_mel_bins": 128, "scale_input": False}
    decoder = {"num_hidden_layers": 2, "num_key_value_heads": 4, "head_dim": 8, "max_position_embeddings": 96}
    config = CanaryConfig(
        encoder_config={**encoder, **small, "subsampling_conv_channels": 8},
        decoder_config={**decoder, **small, "vocab_size": len(pieces)},
        vocab_size=len(pieces),
    )
    torch.manual_seed(seed)
    model = CanaryForConditionalGeneration(config)
    return save_checkpoint(model, directory, pieces, {m: i for i, m in enumerate(marks)}, byte_level=False)


def tiny_speech2text(directory: Path, *, multilingual: bool = False, seed: int = 0) -> Path:
    """A fairseq S2T model of 1 + 2 layers and 4 heads, with one target language or with German and French."""
    import torch
    from transformers import Speech2TextConfig, Speech2TextForConditionalGeneration

    marks = ["<s>", "<pad>", "</s>", "<unk>", *(["<lang:de>", "<lang:fr>"] if multilingual else [])]
    pieces = [*marks, *("\u2581" + letter for letter in _LETTERS), *_LETTERS, ".", ","]
    config = Speech2TextConfig(
        vocab_size=len(pieces),
        d_model=32,
        init_std=0.3,
        encoder_layers=1,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=64,
        max_target_positions=96,
        conv_channels=16,
        decoder_start_token_id=2,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    model = Speech2TextForConditionalGeneration(config)
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory, safe_serialization=True)
    (directory / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}), encoding="utf-8")
    return directory


def byte_pieces() -> list[str]:
    """The 256 single-byte tokens of byte-level BPE, in the order of their bytes."""
    kept = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = iter(range(0x100, 0x200))
    return [chr(byte) if byte in kept else chr(next(moved)) for byte in range(256)]


class _Saves(Protocol):
    """A model of transformers."""

    def save_pretrained(self, directory: Path, /, *, safe_serialization: bool) -> object: ...


def save_checkpoint(
    model: _Saves, directory: Path, pieces: list[str], special: dict[str, int], *, byte_level: bool
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory, safe_serialization=True)
    table: dict[str, int] = {}
    for i, piece in enumerate(pieces):
        table.setdefault(piece, i)
    flags = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    spec: dict[str, object] = {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": mark, **flags} for mark, i in special.items()],
        "model": {"type": "BPE", "vocab": table, "merges": [], "byte_fallback": not byte_level},
    }
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    spec |= {"pre_tokenizer": level, "decoder": level} if byte_level else {"normalizer": spaces}
    (directory / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    return directory
