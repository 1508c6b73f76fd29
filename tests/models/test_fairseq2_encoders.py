"""Encoders that fairseq2 saved, held against fairseq2 itself, and files that are none."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulst.errors import ModelError
from simulst.models.speech_llm.hub_encoders import HubEncoder, find_encoder, load_encoder, network_of, normalises
from simulst.models.speech_llm.windowed import Window, WindowedConfig, load_windowed
from simulst.testing.encoder_checkpoints import tiny_fairseq2_w2v_bert, tiny_fairseq2_wav2vec2

NOISE = torch.from_numpy((0.1 * np.random.default_rng(0).standard_normal((1, 24_000))).astype(np.float32))


def loaded(path: Path) -> HubEncoder:
    return load_encoder(path, network_of(path), normalise=normalises(path))


def by_fairseq2(model: Any, given: torch.Tensor) -> torch.Tensor:
    from fairseq2.nn import BatchLayout

    parts = dict(model.named_children())
    with torch.inference_mode():
        seqs, layout = parts["encoder_frontend"](given, BatchLayout.of(given))
        found: torch.Tensor = parts["encoder"](seqs, layout)
    return found


@pytest.mark.parametrize("large", [False, True])
def test_frames_of_wav2vec2_are_those_of_fairseq2(large: bool, tmp_path: Path) -> None:
    path = tmp_path / "wav2vec2.pt"
    model = tiny_fairseq2_wav2vec2(path, large=large)
    ours = loaded(path)
    assert normalises(path) is ours.normalise is large  # fairseq2's own large ones were trained on such samples
    heard = (NOISE - NOISE.mean()) / (NOISE.var(correction=0) + 1e-7).sqrt() if large else NOISE
    with torch.inference_mode():
        found = ours(NOISE)
    assert found.shape == (1, 74, 128)
    torch.testing.assert_close(found, by_fairseq2(model, heard), atol=1e-4, rtol=1e-4)


def test_frames_of_w2v_bert_are_those_of_fairseq2(tmp_path: Path) -> None:
    path = tmp_path / "conformer_shaw.pt"
    model = tiny_fairseq2_w2v_bert(path)
    ours: Any = loaded(path)
    rows = ours.extractor([NOISE[0].numpy()], sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        found = ours(NOISE)
    assert found.shape == (1, 74, 128)
    expected = by_fairseq2(model, rows.reshape(1, -1, 80))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_half_precision_and_names_of_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "wav2vec2.pt"
    tiny_fairseq2_wav2vec2(path)
    whole = loaded(path)
    state = torch.load(path, weights_only=True)["model"]
    torch.save({f"module.{name}": one.half() if one.is_floating_point() else one for name, one in state.items()}, path)
    with torch.inference_mode():
        found, expected = loaded(path)(NOISE), whole(NOISE)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)


def test_a_recipe_hears_with_it_in_windows(tmp_path: Path) -> None:
    path = tmp_path / "conformer_shaw.pt"
    tiny_fairseq2_w2v_bert(path)
    config = WindowedConfig.of(find_encoder(str(path)), Window(block_s=0.4, lookahead_s=0.2, left_s=1.0))
    assert config.network["model_type"] == "wav2vec2-bert" and config.model_dim == 128 and config.frame_s == 0.02
    encoder = load_windowed(path, config)
    with torch.inference_mode():
        assert encoder.full(NOISE).shape == (1, 75, 128)


class Code:
    """What a hostile pickle does when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def without(state: dict[str, Any], part: str) -> dict[str, Any]:
    return {name: one for name, one in state.items() if part not in name}


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "other names": (
        lambda state: {"model": state | {"decoder.weight": torch.ones(1)}},
        "holds 'decoder.weight', which",
    ),
    "no state": (lambda state: {"model": 3}, "holds no state of a model; give a checkpoint of fairseq2."),
    "a list": (lambda state: [1], "holds no state of a model; give a checkpoint of fairseq2."),
    "no tensors": (
        lambda state: {"a": 1},
        "holds something other than tensors by name; give a checkpoint of fairseq2.",
    ),
    "meta": (lambda state: {k: one.to("meta") for k, one in state.items()}, "holds something other than tensors"),
    "too large": (
        lambda state: state | {"final_proj.weight": torch.zeros(1).expand(1 << 20, 1 << 20)},
        "claims tensors that are larger than the file.",
    ),
    "no projection": (lambda state: without(state, "model_dim_proj"), "without 'feature_projection.projection.bias'."),
    "a layer less": (
        lambda state: without(state, "encoder.layers.0."),
        "holds no encoder of fairseq2 that is known here",
    ),
    "a matrix less": (lambda state: without(state, "encoder.layers.1.self_attn.q_proj"), "holds another encoder than"),
    "numbers": (
        lambda state: {k: one.long() for k, one in state.items()},
        "which neither wav2vec 2.0 nor w2v-BERT 2.0",
    ),
    "another shape": (
        lambda state: state | {"encoder.layers.1.ffn.inner_proj.bias": torch.ones(3)},
        "holds weights of a shape that its encoder cannot have, for example encoder.layers.1.feed_forward.intermediate",
    ),
    "flat": (
        lambda state: state | {"encoder_frontend.pos_encoder.conv.weight_v": torch.ones(3)},
        "holds no encoder of fairseq2 that is known here",
    ),
    "a width that no file could fill": (
        lambda state: state | {"encoder_frontend.model_dim_proj.bias": torch.ones(64 * 8_000)},
        "holds weights of a shape that its encoder cannot have, for example encoder.layer_norm.bias.",
    ),
    "narrow": (
        lambda state: state | {"encoder_frontend.model_dim_proj.bias": torch.ones(100)},
        "a width of 100 is no multiple of 64, which its heads have.",
    ),
}


@pytest.mark.parametrize("edit", list(EDITS))
def test_a_file_that_holds_something_else_is_a_sentence(edit: str, tmp_path: Path) -> None:
    path = tmp_path / "wav2vec2.pt"
    tiny_fairseq2_wav2vec2(path)
    change, sentence = EDITS[edit]
    torch.save(change(torch.load(path, weights_only=True)["model"]), path)
    with pytest.raises(ModelError) as raised:
        loaded(path)
    said = str(raised.value)
    assert said.startswith(f"{path} ") and sentence in said and "\n" not in said and said.endswith(".")


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_with_code_is_not_run(old: bool, tmp_path: Path) -> None:
    path, mark = tmp_path / "code.pt", tmp_path / "ran"
    if old:
        path.write_bytes(pickle.dumps({"model": Code(mark)}))
    else:
        torch.save({"model": Code(mark)}, path)
    with pytest.raises(ModelError, match=r"code\.pt cannot be read as tensors of fairseq2: [^\n]+\.$"):
        loaded(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_none_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "none.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"none\.pt cannot be read as tensors of fairseq2: [^\n]+\.$"):
        loaded(path)


def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub() -> None:
    with pytest.raises(ModelError) as raised:
        find_encoder("models/away.pt")
    assert str(raised.value) == (
        "The encoder models/away.pt does not exist; give a file of fairseq2, a folder or a hub name."
    )
