"""A `simulst.json` that describes no model is refused in one sentence that names the value."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from simulst.cli import run
from simulst.models.speech_llm.description import check_description
from simulst.testing import toy_audio
from simulst.testing.speech_llm import make_tiny_speech_llm

Changed = Callable[[tuple[str, ...], Any], Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def changed(model: Path, tmp_path: Path) -> Changed:
    def changed(keys: tuple[str, ...], value: Any) -> Path:
        folder = Path(shutil.copytree(model, tmp_path / "model"))
        document = json.loads((folder / "simulst.json").read_text())
        branch = document
        for key in keys[:-1]:
            branch = branch[key]
        branch[keys[-1]] = value
        (folder / "simulst.json").write_text(json.dumps(document))
        return folder

    return changed


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (("encoder",), [], "encoder must be an object"),
        (("encoder", "model_dim"), None, "encoder.model_dim must be a whole number"),
        (("encoder", "heads"), True, "encoder.heads must be a whole number"),
        (("encoder", "layers"), 10**9, "encoder.layers must be a whole number from 1 to 1000"),
        (("encoder", "norm_half_life_s"), "x", "encoder.norm_half_life_s must be a number of seconds"),
        (("encoder", "heads"), 3, "model_dim must be a multiple of heads, and rotary_dim even"),
        (("encoder", "rotary_dim"), 40, "model_dim must be a multiple of heads, and rotary_dim even"),
        (("encoder", "model_dim"), 64, "does not fit simulst.json"),
        (("decoder",), None, "decoder must be an object"),
        (("decoder",), {}, "decoder needs vocab_size"),
        (("decoder", "hidden_size"), 2**20, "larger than its model.safetensors"),
        (("decoder", "num_attention_heads"), [], "decoder.num_attention_heads must be a whole number"),
        (("decoder", "model_type"), None, "describes a model that cannot be built"),
        (("stack",), 0.5, "stack must be a whole number"),
        (("max_source_s",), float("nan"), "max_source_s must be a number of seconds"),
        (("languages",), {"en": None}, "languages must map names to tokens"),
        (("source",), 5, "source must be the name of a language"),
        (("tasks",), "turns", "tasks must be a list of names"),
    ],
)
def test_a_value_that_no_model_has_is_named(
    changed: Changed, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: tuple[str, ...], value: Any, named: str
) -> None:
    speech = tmp_path / "a.wav"
    soundfile.write(speech, toy_audio([3, 5]), 16_000)
    assert run(["translate", str(speech), "--model", str(changed(keys, value))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line and line.endswith(".")


def test_the_models_that_are_there_are_described_well(model: Path) -> None:
    embedded = Path(__file__).parents[2] / "simulst" / "models" / "tiny-en-de"
    for folder in (model, embedded):
        check_description(json.loads((folder / "simulst.json").read_text()), "here")
