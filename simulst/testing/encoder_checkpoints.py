"""Tiny random checkpoints of speech encoders without a decoder, as recognisers and pretraining leave them."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from simulst.models.seq2seq.fairseq2_python import prepare


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


def tiny_fairseq2_wav2vec2(path: Path, *, large: bool = False, seed: int = 0) -> Any:
    """A wav2vec 2.0 of fairseq2 of 2 layers and 2 heads of 64 in a `.pt`, and the model itself; `large` with the norms
    of the large one."""
    prepare()
    import torch
    from fairseq2.models.transformer import TransformerNormOrder
    from fairseq2.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2EncoderConfig, create_wav2vec2_model

    sizes = Wav2Vec2EncoderConfig(
        model_dim=128,
        feature_dim=16,
        num_encoder_layers=2,
        num_encoder_attn_heads=2,
        ffn_inner_dim=64,
        feature_extractor_layer_descs=[(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2],
        pos_conv_kernel_size=16,
        num_pos_conv_groups=4,
        feature_extractor_bias=large,
        feature_extractor_layer_norm_convs=large,
        layer_norm_features=not large,
        norm_order=TransformerNormOrder.PRE if large else TransformerNormOrder.POST,
    )
    torch.manual_seed(seed)
    with _one_process():
        model = create_wav2vec2_model(Wav2Vec2Config(encoder_config=sizes, quantized_dim=16, num_codebook_entries=4))
    return _stirred(model, path)


def tiny_fairseq2_w2v_bert(path: Path, *, seed: int = 0) -> Any:
    """A w2v-BERT 2.0 as Seamless builds it of fairseq2's parts, in a `.pt`, and the model itself."""
    prepare()
    import torch
    from fairseq2.models.conformer import ConformerConvolution
    from fairseq2.models.transformer import IdentityBias, ShawRelativePositionSDPA, StandardMultiheadAttention
    from fairseq2.models.wav2vec2 import Wav2Vec2EncoderConfig, Wav2Vec2EncoderFactory

    sizes = Wav2Vec2EncoderConfig(
        model_dim=128,
        feature_dim=160,
        use_fbank=True,
        layer_norm_features=False,
        num_fbank_channels=80,
        fbank_stride=2,
        sample_fbank_every_k=1,
        pos_encoder_type="shaw_relative",
        use_conformer=True,
        num_encoder_layers=2,
        num_encoder_attn_heads=2,
        ffn_inner_dim=64,
        depthwise_conv_kernel_size=31,
    )

    class Parts(Wav2Vec2EncoderFactory):  # type: ignore[misc]
        def create_self_attention(self, _: Any) -> Any:
            sdpa = ShawRelativePositionSDPA(128, 2, IdentityBias(), 64, max_rhs_rel_pos=8)
            return StandardMultiheadAttention(128, 2, sdpa)

        def create_conformer_conv(self) -> Any:
            return ConformerConvolution(128, 31, causal_depthwise_conv=True, norm_type="layer_norm")

    torch.manual_seed(seed)
    parts = Parts(sizes)
    with _one_process():
        both = {"encoder_frontend": parts.create_encoder_frontend(), "encoder": parts.create_encoder()}
    return _stirred(torch.nn.ModuleDict(both), path)


@contextmanager
def _one_process() -> Iterator[None]:
    """fairseq2 would read all its model families, and what they need, to learn that nothing is sharded."""
    import torch
    from fairseq2.gang import create_fake_gangs

    here = torch.device("cpu")
    alone = create_fake_gangs(here)
    with ExitStack() as stack:
        for module in ("projection", "embedding"):
            stack.enter_context(patch(f"fairseq2.nn.{module}.get_current_gangs", lambda device=None: alone))
            stack.enter_context(patch(f"fairseq2.nn.{module}.get_current_device", lambda: here))
        yield


def _stirred(model: Any, path: Path) -> Any:
    """Saved with weights that are not nearly nothing, norms included."""
    import torch

    with torch.no_grad():
        for one in model.parameters():
            one.add_(0.1 * torch.randn_like(one))
    torch.save({"model": model.state_dict()}, path)
    return model.eval()
