"""Tiny random checkpoints of text models: their tokenizers are real ones of the library, their weights drawn."""

import string
from pathlib import Path
from typing import Any

from simulst.testing.checkpoints import byte_pieces, save_checkpoint

_LETTERS = string.ascii_lowercase
_SENTENCES = ("the cat sat on a mat", "my dog has a big house", "we go home at six", "yes no maybe so")
SIZES: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "init_std": 0.4,
}


def tiny_marian(directory: Path, *, targets: tuple[str, ...] = (), seed: int = 0) -> Path:
    """A Marian of 2 + 2 layers and 4 heads with SentencePiece models; `targets` are languages it is told by a mark."""
    import json

    import sentencepiece
    import torch
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    directory.mkdir(parents=True, exist_ok=True)
    for side in ("source", "target"):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_SENTENCES * 4),
            model_prefix=str(directory / side),
            vocab_size=40,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        (directory / f"{side}.model").rename(directory / f"{side}.spm")
    spm = sentencepiece.SentencePieceProcessor(model_file=str(directory / "source.spm"))
    learned = [spm.id_to_piece(i) for i in range(spm.get_piece_size())]
    marks = [f">>{target}<<" for target in targets]
    pieces = ["</s>", "<unk>", *marks, *(piece for piece in learned if piece not in ("<s>", "</s>", "<unk>")), "<pad>"]
    (directory / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}), encoding="utf-8")
    MarianTokenizer.from_pretrained(directory).save_pretrained(directory)
    pad = len(pieces) - 1
    config = MarianConfig(
        vocab_size=len(pieces), pad_token_id=pad, eos_token_id=0, decoder_start_token_id=pad, forced_eos_token_id=None,
        **SIZES,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = MarianMTModel(config)
    model.final_logits_bias.normal_()
    model.save_pretrained(directory)
    return directory


def tiny_nllb(directory: Path, *, seed: int = 0) -> Path:
    """An M2M100 of 2 + 2 layers and 4 heads with NLLB's tokenizer and its 200 language codes."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *("\u2581" + letter for letter in _LETTERS), *_LETTERS, "\u2581", "."]
    tokenizer = NllbTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
    tokenizer.save_pretrained(directory)
    config = M2M100Config(
        vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, **SIZES
    )
    torch.manual_seed(seed)
    M2M100ForConditionalGeneration(config).save_pretrained(directory)
    return directory


def tiny_t5(directory: Path, *, targets: tuple[str, ...] = (), seed: int = 0) -> Path:
    """A T5 of 2 + 2 layers and 4 heads; with `targets` it is told its language by a mark, as MADLAD is."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    marks = ["<pad>", "</s>", "<unk>"]
    pieces = [
        *marks,
        *(f"<2{one}>" for one in targets),
        *("\u2581" + letter for letter in _LETTERS),
        *_LETTERS,
        "\u2581",
        ":",
    ]
    config = T5Config(
        vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, initializer_factor=1.5,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
    )  # fmt: skip
    torch.manual_seed(seed)
    special = {mark: i for i, mark in enumerate(marks)}
    model = T5ForConditionalGeneration(config)
    save_checkpoint(model, directory, pieces, special, byte_level=False)
    return _declare(directory, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_causal(
    directory: Path,
    *,
    kind: str = "llama",
    template: str | None = CHATML,
    tied: bool = False,
    unused: int = 0,
    seed: int = 0,
) -> Path:
    """A causal language model of 3 layers with 4 heads on 2 of keys: `kind` is llama, qwen2, qwen3 or gemma3_text.

    With `tied` its output layer is that of the embeddings; `unused` embeddings have no token.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    pieces = [*marks, *byte_pieces(), *("\u0120" + letter for letter in _LETTERS)]
    config = AutoConfig.for_model(
        kind, vocab_size=len(pieces) + unused, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, initializer_range=0.4, tie_word_embeddings=tied,
        bos_token_id=0, eos_token_id=2, pad_token_id=0, max_position_embeddings=2048,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    save_checkpoint(model, directory, pieces, {m: i for i, m in enumerate(marks)}, byte_level=True)
    if template is not None:
        (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    return _declare(directory, eos_token="<|im_end|>", bos_token="<|endoftext|>")


def _declare(directory: Path, **marks: str) -> Path:
    """The tokenizer's configuration: which marks mean what."""
    import json

    content = {"tokenizer_class": "PreTrainedTokenizerFast", **marks}
    (directory / "tokenizer_config.json").write_text(json.dumps(content), encoding="utf-8")
    return directory
