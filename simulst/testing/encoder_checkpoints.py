"""Tiny random checkpoints of speech encoders without a decoder, as recognisers and pretraining leave them."""

import json
from pathlib import Path
from typing import Literal


def tiny_wav2vec2(directory: Path, *, kind: Literal["wav2vec2", "hubert"] = "wav2vec2", seed: int = 0) -> Path:
    """A recogniser of 2 layers and 4 heads, wav2vec2 with the norms of the base model, HuBERT of the large one."""
    import torch
    from transformers import HubertConfig, HubertForCTC, Wav2Vec2Config, Wav2Vec2ForCTC

    large = kind == "hubert"
    config = (HubertConfig if large else Wav2Vec2Config)(
        vocab_size=32,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        initializer_range=0.3,
        feat_extract_norm="layer" if large else "group",
        do_stable_layer_norm=large,
    )
    torch.manual_seed(seed)
    (HubertForCTC if large else Wav2Vec2ForCTC)(config).save_pretrained(directory)
    (directory / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16_000}))
    return directory


def tiny_w2v_bert(directory: Path, *, seed: int = 0) -> Path:
    """A w2v-BERT of 2 layers and 4 heads, as pretraining leaves it."""
    import torch
    from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

    config = Wav2Vec2BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        output_hidden_size=32,
        initializer_range=0.3,
    )
    torch.manual_seed(seed)
    Wav2Vec2BertModel(config).save_pretrained(directory)
    return directory
