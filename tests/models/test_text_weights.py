"""Weights for translating text alone beside those of a speech LLM: where they are taken, and what is refused."""

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from simulst.agents import text_agent
from simulst.core.translator import PLAIN, Translator
from simulst.errors import ModelError
from simulst.models import load_model
from simulst.models.cascade import Cascade
from simulst.models.fingerprint import fingerprint_of_weights
from simulst.models.speech_llm.network import load_weights, read_config
from simulst.models.speech_llm.text_weights import TEXT_FILE, save_text_weights
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.models.text.translator import TextTranslator, text_translator
from simulst.testing.speech_llm import make_tiny_speech_llm

TEXTS = ["the cat sat on the mat", "a dog ran", "we will see what the day brings"]


def trained(folder: Path) -> dict[str, torch.Tensor]:
    """Other weights for the decoder of a model, and none for what hears."""
    tensors = load_file(folder / "model.safetensors")
    chance = torch.Generator().manual_seed(3)
    return {
        name: one + one.std() * torch.randn(one.shape, generator=chance) if one.dim() > 1 else one * 1.1
        for name, one in tensors.items()
        if name.startswith("decoder.")
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny_speech_llm(tmp_path_factory.mktemp("text") / "model")
    save_text_weights(folder, trained(folder))
    return folder


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "copy")


def said(model: Translator) -> list[tuple[int, ...]]:
    side = text_translator(model).text_side()
    return [side.search_text(text, (), PLAIN, max_new=12)[0].ids for text in TEXTS]


def test_the_decoder_is_what_training_made_of_it_and_the_rest_what_it_was(model: Path) -> None:
    config = read_config(model)
    plain, other = load_weights(model, config).state_dict(), load_weights(model, config, for_text=True).state_dict()
    wanted = trained(model)
    for name, one in plain.items():
        if name not in wanted:
            assert name == "decoder.lm_head.weight" or torch.equal(other[name], one), name
            continue
        change = (wanted[name] - one).flatten(1) if one.dim() > 1 else (wanted[name] - one)[None]
        level = change.abs().amax(1) / 7
        assert (((other[name] - wanted[name]).reshape(change.shape)).abs().amax(1) <= 0.51 * level + 1e-3).all(), name


def test_they_take_half_a_byte_a_number(model: Path) -> None:
    numbers = sum(one.numel() for one in trained(model).values())
    assert (model / TEXT_FILE).stat().st_size < 0.75 * numbers + 8_000


def test_speech_is_translated_with_the_weights_for_speech(model: Path, copy: Path) -> None:
    (copy / TEXT_FILE).unlink()
    assert said(load_model(model)) == said(load_model(copy)) == said(load_model(copy, text_weights=True))
    assert said(load_model(model, text_weights=True)) != said(load_model(model))


def test_a_cascade_takes_them_for_its_text_half_unless_told_otherwise(model: Path) -> None:
    alone = [said(load_model(model, text_weights=given)) for given in (True, False)]
    for options, wanted in (({}, alone[0]), ({"text.text_weights": "false"}, alone[1])):
        cascade = load_model(f"{model}+{model}", **options)
        assert isinstance(cascade, Cascade) and said(cascade.text) == wanted
        assert isinstance(cascade.recogniser, SpeechLLMTranslator) and said(cascade.recogniser) == alone[1]


def test_text_agents_take_them_unless_told_otherwise(model: Path) -> None:
    for settings, text_weights in (([], True), (["text_weights=false"], False)):
        agent = text_agent("wait_k")(Namespace(model=str(model), set=settings, source_segment_size=1))
        assert isinstance(agent.model, TextTranslator)
        assert said(agent.model) == said(load_model(model, text_weights=text_weights))


def test_what_was_made_for_the_weights_still_fits_them(model: Path, copy: Path) -> None:
    (copy / TEXT_FILE).unlink()
    assert fingerprint_of_weights(copy) == fingerprint_of_weights(model)


@pytest.mark.parametrize("harm", ["other weights", "other names", "no tensors"])
def test_files_that_do_not_fit_are_one_sentence(harm: str, copy: Path) -> None:
    path = copy / TEXT_FILE
    if harm == "other weights":
        make_tiny_speech_llm(copy, seed=1)
    elif harm == "other names":
        save_file({"decoder.more": torch.zeros(2)}, path, metadata={"weights": fingerprint_of_weights(copy)})
    else:
        path.write_text(json.dumps({}))
    load_model(copy)
    with pytest.raises(ModelError) as problem:
        load_model(copy, text_weights=True)
    assert str(path) in str(problem.value) and "\n" not in str(problem.value) and len(str(problem.value)) < 400


def test_weights_of_another_decoder_are_not_written(model: Path) -> None:
    tensors = trained(model)
    tensors["decoder.model.norm.weight"] = torch.zeros(5)
    with pytest.raises(ModelError, match=r"no decoder\.model\.norm\.weight of the size"):
        save_text_weights(model, tensors)
