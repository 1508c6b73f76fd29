"""Recipes with a pretrained decoder: marks in its tokenizer, what is trained, what is exported, what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.testing.text_checkpoints import tiny_causal
from simulst.training.recipe import read_recipe
from simulst.training.run import run_recipe

PAIRS = [("the cat sat", "die Katze saß"), ("a dog ran home", "ein Hund lief heim"), ("we will see", "wir sehen 12")]
RECIPE = """
name = "tiny"
work = "{work}"
threads = 1
device = "cpu"
dtype = "{dtype}"
[data]
train = "pairs.tsv"
dev = "pairs.tsv"
voices = {{}}
dev_voices = {{}}
scored = 1
[model]
encoder = "ears"
decoder = "{decoder}"
{model}
[imitation]
steps = 0
[decoder]
steps = 4
positions = 300
warmup_steps = 1
learning_rate = 1e-2
checkpoint_steps = 4
ctc_random_tokens = 20
{training}
[incremental]
steps = 3
positions = 300
warmup_steps = 1
checkpoint_steps = 3
ctc_random_tokens = 20
samples = {{ read_write_share = 0.4, turn_share = 0.2, grouped_share = 0.2 }}
[export]
{export}
"""
LORA = "lora = { rank = 4, alpha = 8 }\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, decoders, pairs of sentences, and vectors of two talks."""
    folder = tmp_path_factory.mktemp("pretrained")
    make_tiny_speech_llm(folder / "ears")
    tiny_causal(folder / "base")
    tiny_causal(folder / "other", seed=1)
    (folder / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS))
    (folder / "features").mkdir()
    vectors = torch.randn(90, 128, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16).view(torch.uint16)
    (folder / "features" / "vectors.bf16").write_bytes(vectors.numpy().tobytes())
    talks = [
        {"first": 0, "count": 60, "voice": "v", "sentences": [[0, 3.2, 18.0], [1, 22.5, 38.1], [2, 43.0, 57.7]]},
        {"first": 60, "count": 30, "voice": "v", "sentences": [[1, 2.0, 25.0]]},
    ]
    (folder / "features" / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    return folder


def made(
    place: Path,
    name: str,
    *,
    decoder: str = "base",
    model: str = LORA,
    training: str = "",
    export: str = "",
    dtype: str = "float32",
) -> Path:
    """A recipe with vectors, whose other stages are to be run."""
    (place / name).mkdir()
    shutil.copytree(place / "features", place / name / "features")
    path = place / f"{name}.toml"
    path.write_text(
        RECIPE.format(work=name, decoder=decoder, model=model, training=training, export=export, dtype=dtype)
    )
    return path


def trained(recipe: Path, *stages: str) -> Path:
    """The folder of the model, after the stages that need no speech."""
    for stage in stages or ("vocabulary", "decoder", "annotate", "incremental", "export"):
        folder = run_recipe(read_recipe(recipe), stage)
    return folder


def test_a_recipe_trains_marks_and_additions_and_exports_a_whole_model(place: Path) -> None:
    folder = trained(made(place, "whole"))
    checkpoint = torch.load(place / "whole" / "incremental" / "decoder.pt", weights_only=True)
    names = set(checkpoint["model"])
    assert {name.partition(".")[0] for name in names} == {"projector", "decoder"}
    decoder = {name for name in names if name.startswith("decoder.")}
    assert len(decoder) == 3 * 4 * 2 + 2 and all(name.endswith((".down", ".up", ".rows", ".own")) for name in decoder)
    tensors, base = load_file(folder / "model.safetensors"), load_file(place / "base" / "model.safetensors")
    moved = {
        name: float((tensors[f"decoder.{name}"][: len(one)].float() - one).abs().max()) for name, one in base.items()
    }
    assert all(("_proj" in name and "mlp" not in name) == (change > 2e-3) for name, change in moved.items()), moved
    assert len(tensors["decoder.model.embed_tokens.weight"]) == len(base["model.embed_tokens.weight"]) + 27
    described = json.loads((folder / "simulst.json").read_text())
    assert "base" not in described and described["tasks"] == ["read_write", "turns", "grouped"]
