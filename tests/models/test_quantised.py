"""Weights of 8 and 4 bits by torchao and bitsandbytes: what they make of models, and sentences where they are not."""

import json
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from simulst.cli import run as run_command
from simulst.core.session import Session
from simulst.errors import ModelError
from simulst.models import load_model, quantised
from simulst.models.checkpoint import load_pretrained
from simulst.models.precision import Precision, choose_precision
from simulst.models.quantised import Int4Linear, quantise
from simulst.models.text.local import LocalModel
from simulst.policies import load_policy
from simulst.testing.audio_checkpoints import tiny_qwen2_audio, tiny_voxtral
from simulst.testing.checkpoints import tiny_canary, tiny_moonshine, tiny_seamless, tiny_speech2text, tiny_whisper
from simulst.testing.text_checkpoints import tiny_causal, tiny_marian, tiny_nllb, tiny_t5

CPU, GPU, MAC = (torch.device(name) for name in ("cpu", "cuda", "mps"))
TORCHAO = pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao")
BITSANDBYTES = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
BOTH = [pytest.param("int8", marks=TORCHAO), pytest.param("int4", marks=BITSANDBYTES)]


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def layer_of(weights: str, layer: nn.Linear) -> nn.Module:
    found = quantised._layers("int8" if weights == "int8" else "int4", CPU, torch.float32)
    return found(layer.weight, layer.bias)


@pytest.mark.parametrize("weights", BOTH)
@pytest.mark.parametrize("shape", [(1, 64), (7, 64), (2, 5, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_nearly_the_linear_layer(weights: str, shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 48, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        found = layer_of(weights, layer)(x)
    assert found.shape == (*shape[:-1], 48) and found.dtype == torch.float32
    assert cosine(found, layer(x).detach()) > (0.9998 if weights == "int8" else 0.99)


@pytest.mark.parametrize("weights", BOTH)
def test_rows_beside_a_row_do_not_move_it(weights: str) -> None:
    torch.manual_seed(0)
    layer, quiet, loud = layer_of(weights, nn.Linear(64, 48)), torch.randn(4, 64), 1000 * torch.randn(9, 64)
    with torch.inference_mode():
        torch.testing.assert_close(layer(torch.cat((loud, quiet)))[9:], layer(quiet), atol=1e-5, rtol=1e-5)


@BITSANDBYTES
def test_half_a_byte_a_weight_and_the_numbers_of_the_input_come_back() -> None:
    layer = layer_of("int4", nn.Linear(256, 128, bias=False))
    assert isinstance(layer, Int4Linear) and layer.packed.numel() == 256 * 128 // 2
    assert layer.state.absmax.numel() == 256 * 128 // 64
    with torch.inference_mode():
        assert layer(torch.ones(2, 256, dtype=torch.bfloat16)).dtype == torch.bfloat16


SPEECH: dict[str, tuple[Callable[[Path], Path], Mapping[str, str]]] = {
    "whisper": (tiny_whisper, {}),
    "moonshine": (tiny_moonshine, {}),
    "seamless": (tiny_seamless, {"target": "de"}),
    "canary": (tiny_canary, {}),
    "speech2text": (tiny_speech2text, {}),
    "qwen2_audio": (tiny_qwen2_audio, {}),
    "voxtral": (tiny_voxtral, {}),
}


@BITSANDBYTES
@pytest.mark.slow
@pytest.mark.parametrize("kind", list(SPEECH))
def test_speech_models_run_in_int4_under_a_policy(kind: str, tmp_path: Path) -> None:
    make, options = SPEECH[kind]
    model: Any = load_model(make(tmp_path / kind), dtype="int4", **options)
    rounded = {name for name, one in model.decoder.named_modules() if isinstance(one, Int4Linear)}
    assert any(name.endswith(("self_attn.q_proj", "qkv_proj")) for name in rounded)
    assert any(name.endswith(("fc1", "up_proj", "gate_up_proj")) for name in rounded)
    assert not isinstance(model.scorer, Int4Linear)
    session = Session(model, load_policy("wait_k"), chunk_ms=640)
    session.feed((0.1 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32))
    session.finish()


TEXT: dict[str, tuple[Callable[[Path], Path], Mapping[str, str]]] = {
    "marian": (tiny_marian, {}),
    "m2m_100": (tiny_nllb, {}),
    "t5": (tiny_t5, {"target": "fr"}),
    "llama": (tiny_causal, {}),
}


def spread_out(model: Any, whole: Any) -> None:
    """Give the linear layers of `whole` the weights of `model` after rounding, in float32."""
    for name, layer in model.named_modules():
        if isinstance(layer, Int4Linear):
            weight = quantised._imported("bitsandbytes", "int4").functional.dequantize_4bit(layer.packed, layer.state)
        elif isinstance(layer, nn.Linear) and type(layer.weight).__name__ == "Int8Tensor":
            weight = layer.weight.dequantize()
        else:
            continue
        whole.get_submodule(name).weight = nn.Parameter(weight, requires_grad=False)


@pytest.mark.parametrize("weights", BOTH)
@pytest.mark.parametrize("kind", list(TEXT))
def test_a_text_model_computes_with_the_rounded_weights_and_nothing_else(
    kind: str, weights: str, tmp_path: Path
) -> None:
    make, options = TEXT[kind]
    folder, scores = make(tmp_path / kind), []
    usual, model, whole = (load_model(folder, **options) for _ in range(3))
    assert isinstance(model, LocalModel) and isinstance(whole, LocalModel) and isinstance(usual, LocalModel)
    quantise(model.model, "int8" if weights == "int8" else "int4", CPU, torch.float32)  # as on a GPU
    spread_out(model.model, whole.model)
    for one in (model, whole, usual):
        run, prompt = one.run("the cat sat", rows=True, every_head=False)
        step, _ = run.start(prompt, (5, 6))
        assert step.weights is not None and torch.isfinite(step.weights).all()
        scores.append(step.logits[0])
    torch.testing.assert_close(scores[0], scores[1], atol=1e-3, rtol=1e-4)
    assert not torch.allclose(scores[0], scores[2], atol=1e-3)


@TORCHAO
def test_int8_of_an_encoder_decoder_through_the_door(tmp_path: Path) -> None:
    model: Any = load_model(tiny_t5(tmp_path / "t5"), target="fr", dtype="int8")
    layers = [one.weight for one in model.model.modules() if isinstance(one, nn.Linear)]
    assert sum(type(one).__name__ == "Int8Tensor" for one in layers) == len(layers) - 1 == 36  # the output is whole


@pytest.mark.parametrize(
    ("name", "device", "int8", "expected"),
    [
        ("int8", CPU, True, Precision(dtype=torch.float32, int8=True)),
        ("int8", CPU, False, Precision(dtype=torch.float32, weights="int8")),
        ("int8", GPU, True, Precision(dtype=torch.bfloat16, weights="int8")),
        ("int4", CPU, True, Precision(dtype=torch.float32, weights="int4")),
        ("int4", GPU, False, Precision(dtype=torch.bfloat16, weights="int4")),
        ("auto", GPU, True, Precision(dtype=torch.bfloat16)),
    ],
)
def test_names(
    monkeypatch: pytest.MonkeyPatch, name: str, device: torch.device, int8: bool, expected: Precision
) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda package: object())
    assert choose_precision(name, device, int8=int8, quantised=True) == expected


@pytest.mark.parametrize(
    ("name", "device", "sentence"),
    [
        ("int8", GPU, "int8 for this model on cuda needs torchao: pip install torchao."),
        ("int8", CPU, "int8 for this model on cpu needs torchao: pip install torchao."),
        ("int4", GPU, "int4 for this model on cuda needs bitsandbytes: pip install bitsandbytes."),
        ("int4", MAC, "int4 is for CPUs and NVIDIA GPUs, and the model runs on mps; use dtype=bfloat16."),
        ("int2", GPU, "Unknown dtype 'int2' for this model; known: float32, bfloat16, float16, int8, int4, auto."),
    ],
)
def test_what_cannot_be(monkeypatch: pytest.MonkeyPatch, name: str, device: torch.device, sentence: str) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda package: None)
    with pytest.raises(ModelError) as raised:
        choose_precision(name, device, quantised=True)
    assert str(raised.value) == sentence


def test_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda package: None)
    folder = tiny_moonshine(tmp_path / "moonshine")
    capsys.readouterr()
    assert run_command(["translate", "examples/talk.flac", "--model", str(folder), "--dtype", "int4"]) == 2
    said = capsys.readouterr().err.strip()
    assert said == "simulst: int4 for this model on cpu needs bitsandbytes: pip install bitsandbytes."


def test_a_package_that_cannot_be_imported_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bitsandbytes").mkdir()
    (tmp_path / "bitsandbytes" / "__init__.py").write_text("raise RuntimeError('no driver\\nat all')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "bitsandbytes"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModelError, match=r"^int4 needs bitsandbytes, which cannot be imported: no driver$"):
        load_model(tiny_causal(tmp_path / "causal"), dtype="int4")


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_weights_that_are_quantised_already_are_not_rounded_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dtype: str
) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda package: object())
    directory = tiny_causal(tmp_path / "packed")
    config = json.loads((directory / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as raised:
        load_model(directory, dtype=dtype)
    assert str(raised.value) == f"The weights in {directory} are quantised already; leave out dtype={dtype}."


def test_models_that_are_trained_on_take_neither(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    with pytest.raises(ModelError, match=r"^Unknown dtype 'int4' for this model; known: float32, bfloat16, float16, "):
        load_pretrained(AutoModelForCausalLM, tiny_causal(tmp_path / "base"), device="cpu", dtype="int4")
