"""Weights in a byte a number: what comes back, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from simulst.cli import run
from simulst.errors import ModelError
from simulst.models import load_model
from simulst.models.speech_llm.network import load_weights, read_config, save_model
from simulst.models.stored import load_tensors, rounded, save_tensors
from simulst.testing.speech_llm import make_tiny_speech_llm


def drawn() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    spread = torch.logspace(-4, 2, 7)[:, None, None]
    return {"kernel": torch.randn(7, 3, 5) * spread, "row": torch.randn(4, 9), "nothing": torch.zeros(2, 3)}


def test_numbers_come_back_within_half_a_level_of_their_row(tmp_path: Path) -> None:
    tensors = drawn()
    save_tensors(rounded(tensors), tmp_path / "w.safetensors")
    found = load_tensors(tmp_path / "w.safetensors")
    assert set(found) == set(tensors)
    for name, one in tensors.items():
        level = one.flatten(1).abs().amax(1) / 127
        assert ((found[name] - one).flatten(1).abs().amax(1) <= 0.501 * level).all(), name


@pytest.mark.parametrize("width", [8, 9])
def test_half_bytes_come_back_within_half_a_level_of_their_row(width: int, tmp_path: Path) -> None:
    torch.manual_seed(6)
    tensors = {"matrix": torch.randn(5, width), "kernel": torch.randn(5, 2, 2), "bias": torch.tensor([0.5])}
    save_tensors(rounded(tensors, half_bytes=True), tmp_path / "w.safetensors")
    stored, found = load_file(tmp_path / "w.safetensors"), load_tensors(tmp_path / "w.safetensors")
    assert stored["matrix"].nbytes == (5 * width // 2 if width == 8 else 5 * width)
    for name, levels in (("matrix", 7 if width == 8 else 127), ("kernel", 127)):
        level = tensors[name].flatten(1).abs().amax(1) / levels
        assert ((found[name] - tensors[name]).flatten(1).abs().amax(1) <= 0.501 * level).all(), name
    assert found["matrix"].abs().amax(1) == pytest.approx(tensors["matrix"].abs().amax(1)), "the largest is kept"
    assert found["bias"] == 0.5


def test_rounding_what_was_rounded_changes_nothing() -> None:
    once = rounded(drawn())
    back = {name: one.float() * once[name + ".scale"].view(-1, *[1] * (one.dim() - 1)) for name, one in once.items()
            if one.dtype == torch.int8}  # fmt: skip
    twice = rounded(back)
    assert all(torch.equal(twice[name], one) for name, one in once.items() if one.dtype == torch.int8)


def test_vectors_keep_half_precision() -> None:
    assert rounded({"bias": torch.tensor([0.1])})["bias"].dtype == torch.float16


def test_a_model_in_bytes_is_a_third_as_large_and_says_nearly_the_same(tmp_path: Path) -> None:
    folder = make_tiny_speech_llm(tmp_path / "model")
    before = (folder / "model.safetensors").stat().st_size
    model = load_weights(folder, read_config(folder))
    save_model(model, folder, dtype=torch.int8)
    assert (folder / "model.safetensors").stat().st_size < before / 3
    other = load_weights(folder, read_config(folder))
    for (name, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert (one - two).abs().max() <= 0.01 * one.abs().max() + 1e-6, name
    load_model(folder, dtype="int8")


@pytest.mark.parametrize("harm", ["no scale", "short scale", "other numbers"])
def test_whole_numbers_without_their_scales_are_one_sentence(
    harm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_tiny_speech_llm(tmp_path / "model")
    save_model(load_weights(folder, read_config(folder)), folder, dtype=torch.int8)
    path = folder / "model.safetensors"
    tensors, name = load_file(path), "projector.inner.weight"
    if harm == "no scale":
        del tensors[f"{name}.scale"]
    elif harm == "short scale":
        tensors[f"{name}.scale"] = tensors[f"{name}.scale"][1:].clone()
    else:
        tensors[name] = tensors[name].int()
    save_file(tensors, path)
    with pytest.raises(ModelError):
        load_model(folder)
    assert run(["translate", "examples/talk.flac", "--model", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"simulst: {path} holds {name} in whole numbers without a scale for each row; export the model anew.\n"
    )
