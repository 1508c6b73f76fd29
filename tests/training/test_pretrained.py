"""Recipes with a pretrained decoder: marks in its tokenizer, what is trained, what is exported, what is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

from simulst.cli import run as run_command
from simulst.core.events import WriteEvent
from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.errors import DataError, ModelError, PolicyError
from simulst.models import load_model
from simulst.models.speech_llm.adapted import added, merge
from simulst.models.speech_llm.network import SpeechLLM, load_weights, read_config, save_model
from simulst.models.speech_llm.vocabulary import TokenizerVocabulary, copy_vocabulary
from simulst.models.speech_llm.written import written_out
from simulst.policies import POLICIES, load_policy
from simulst.testing.checkpoints import tiny_moonshine
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.testing.text_checkpoints import tiny_causal
from simulst.training.checkpoints import new_model
from simulst.training.recipe import read_recipe
from simulst.training.run import run_recipe

pytestmark = pytest.mark.slow

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
samples = {{ read_write_share = 0.4, turn_share = 0.2, grouped_share = 0.2, joint_share = 0.1, cascade_share = 0.1 }}
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


def built(place: Path, name: str, **changes: str) -> SpeechLLM:
    """The model of a recipe before its training, with additions that change something."""
    path = made(place, name, **changes)
    trained(path, "vocabulary")
    model, rng = new_model(read_recipe(path)), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in added(model.decoder).values():
            tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.1)
    return model.eval()


@torch.no_grad()
def scores(model: SpeechLLM, ids: torch.Tensor) -> torch.Tensor:
    hidden = model.decoder.model(inputs_embeds=model.embed(ids)).last_hidden_state
    return model.output.scores(hidden)


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    return trained(made(place, "whole"))


@pytest.fixture(scope="module")
def model(whole: Path) -> Translator:
    return load_model(whole)


def test_marks_and_additions_are_trained_and_a_whole_model_is_exported(place: Path, whole: Path) -> None:
    checkpoint = torch.load(place / "whole" / "incremental" / "decoder.pt", weights_only=True)
    decoder = {name for name in checkpoint["model"] if name.startswith("decoder.")}
    assert {name.partition(".")[0] for name in checkpoint["model"]} == {"projector", "decoder"}
    assert len(decoder) == 3 * 4 * 2 + 2 and all(name.endswith((".down", ".up", ".rows", ".own")) for name in decoder)
    tensors, base = load_file(whole / "model.safetensors"), load_file(place / "base" / "model.safetensors")
    moved = {
        name: float((tensors[f"decoder.{name}"][: len(one)].float() - one).abs().max()) for name, one in base.items()
    }
    assert all(("self_attn" in name) == (change > 2e-3) for name, change in moved.items()), moved
    assert len(tensors["decoder.model.embed_tokens.weight"]) == len(base["model.embed_tokens.weight"]) + 27
    described = json.loads((whole / "simulst.json").read_text())
    assert "base" not in described and described["tasks"] == ["read_write", "turns", "grouped", "joint", "chain"]


@pytest.mark.parametrize("positions", ["batch", "grouped"])
@pytest.mark.parametrize("policy", list(POLICIES))
def test_every_policy_runs_on_it_or_says_why_not(whole: Path, model: Translator, policy: str, positions: str) -> None:
    if positions == "grouped":
        model = load_model(whole, positions="grouped", cache="evict")
    try:
        session = Session(model, load_policy(policy), chunk_ms=640)
    except PolicyError as error:
        assert f"Policy {policy} needs " in str(error)
        assert (policy, positions) == ("gpe_wait_k", "batch") or policy in ("emma", "transducer")
        return
    audio = np.random.default_rng(0).normal(scale=0.1, size=40_000).astype(np.float32)
    shown = ""
    for event in [*session.feed(audio), *session.finish()]:
        if isinstance(event, WriteEvent):
            shown = shown[: len(shown) - event.retract] + event.text
    assert shown == session.text
    assert not any(mark in shown for mark in ("<sp>", "<de>", "<read>", "<|im_end|>"))


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
def test_an_adapted_decoder_scores_as_the_library_and_merging_changes_nothing(
    place: Path, kind: str, tied: bool
) -> None:
    base = f"{kind}-{'tied' if tied else 'untied'}"
    directory, ids = tiny_causal(place / base, kind=kind, tied=tied), torch.tensor([[5, 80, 90, 40, 270, 33]])
    adapted = built(place, f"of-{base}", decoder=base)
    first = adapted.decoder.get_input_embeddings().first
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(directory)(ids).logits
    assert float((scores(adapted, ids)[..., :first] - plain).abs().max()) > 0.01
    marked = torch.cat((ids, torch.tensor([[first, first + 5, first + 26]])), dim=1)
    before = scores(adapted, marked)
    merge(adapted.decoder)
    torch.testing.assert_close(scores(adapted, marked), before, atol=1e-4, rtol=0)
    assert adapted.tied == tied and not added(adapted.decoder)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
def test_without_additions_the_scores_are_those_of_the_library(place: Path, kind: str, tied: bool) -> None:
    base = f"plain-{kind}-{'tied' if tied else 'untied'}"
    directory = tiny_causal(place / base, kind=kind, tied=tied)
    path = made(place, f"frozen-{base}", decoder=base, model="")
    trained(path, "vocabulary")
    adapted, ids = new_model(read_recipe(path)).eval(), torch.tensor([[5, 80, 90, 40, 270, 33]])
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(directory)(ids).logits
    first = adapted.decoder.get_input_embeddings().first
    assert first == plain.shape[-1] and scores(adapted, ids).shape[-1] == first + 27
    torch.testing.assert_close(scores(adapted, ids)[..., :first], plain, atol=1e-4, rtol=0)
    own = set() if tied else {"lm_head.own"}
    assert set(added(adapted.decoder)) == {"model.embed_tokens.rows"} | own


@pytest.mark.real
def test_smollm2_scores_as_the_library_and_is_written_out(place: Path) -> None:
    directory = (
        Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser() / "smollm2-135m-instruct"
    )
    if not (directory / "config.json").is_file():
        pytest.skip(f"{directory} is absent")
    path = made(place, "smollm2", decoder=str(directory), model="")
    trained(path, "vocabulary")
    model = new_model(read_recipe(path)).eval()
    vocabulary = TokenizerVocabulary(place / "smollm2" / "tokenizer.json", eos=2, size=49_179)
    text = "The weather is fine today, and das Wetter ist schön."
    ids = torch.tensor([vocabulary.encode(text)])
    assert vocabulary.decode(ids[0].tolist()) == " " + text and vocabulary.mark("<sp>") == 49_152
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)(ids).logits
    torch.testing.assert_close(scores(model, ids)[..., :49_152], plain, atol=1e-4, rtol=0)
    merge(model.decoder)
    torch.testing.assert_close(scores(model, ids)[..., :49_152], plain, atol=1e-4, rtol=0)
    assert written_out(model.decoder) is not None


def test_an_adapter_alone_finds_its_base_and_no_other(place: Path, tmp_path: Path) -> None:
    adapted, ids = built(place, "alone"), torch.tensor([[5, 80, 90, 300, 270, 310]])
    expected = scores(adapted, ids)
    save_model(adapted, tmp_path, dtype=torch.float32)
    copy_vocabulary(place / "alone", tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert not any(name.endswith("_proj.weight") for name in names if name.startswith("decoder."))
    loaded = load_weights(tmp_path, read_config(tmp_path))
    torch.testing.assert_close(scores(loaded, ids), expected, atol=1e-4, rtol=0)
    assert load_model(tmp_path, base=str(place / "base")).name == tmp_path.name
    with pytest.raises(ModelError, match=r"rests on .*base with weights \w{16}, but those in .*other are \w{16}; give"):
        load_model(tmp_path, base=str(place / "other"))
    described = json.loads((tmp_path / "simulst.json").read_text())
    described["base"]["name"] = str(tmp_path / "gone")
    (tmp_path / "simulst.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match=r"^The model directory .*gone does not exist\.$"):
        load_model(tmp_path)


def test_a_base_in_several_files_is_one_model(place: Path) -> None:
    AutoModelForCausalLM.from_pretrained(place / "base").save_pretrained(place / "sharded", max_shard_size="40KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(place / "base" / name, place / "sharded")
    assert len(list((place / "sharded").glob("model-*.safetensors"))) > 1
    ids = torch.tensor([[5, 80, 90]])
    one, several = (built(place, f"from-{name}", decoder=name) for name in ("base", "sharded"))
    torch.testing.assert_close(scores(several, ids), scores(one, ids))


def test_embeddings_without_a_token_become_those_of_marks(place: Path) -> None:
    tiny_causal(place / "padded", unused=40)
    adapted = built(place, "of-padded", decoder="padded")
    tokens = len(json.loads((place / "padded" / "tokenizer.json").read_text())["model"]["vocab"])
    assert adapted.decoder.get_input_embeddings().first == tokens
    assert adapted.config.decoder["vocab_size"] == tokens + 40
    vocabulary = TokenizerVocabulary(place / "of-padded" / "tokenizer.json", eos=2, size=tokens + 40)
    assert vocabulary.mark("<sp>") == tokens and tokens + 39 in vocabulary.special


def test_text_opens_with_a_word_and_holds_no_marks(place: Path, whole: Path) -> None:
    vocabulary = TokenizerVocabulary(whole / "tokenizer.json", eos=2, size=400)
    ids = vocabulary.encode("Häuser, <de> 12 größer")
    assert vocabulary.decode(ids) == " Häuser,  12 größer" and vocabulary.starts_word(ids[0])
    assert vocabulary.encode("") == [] and vocabulary.spell("ab") == tuple(vocabulary.encode("ab"))
    with pytest.raises(ModelError, match=r"^The vocabulary has no mark <fr>\.$"):
        vocabulary.mark("<fr>")


def steps_of(place: Path, name: str, training: str, **changes: str) -> dict[str, torch.Tensor]:
    path = made(place, name, training=training, **changes)
    trained(path, "vocabulary", "decoder")
    state: dict[str, torch.Tensor] = torch.load(place / name / "decoder" / "decoder.pt", weights_only=True)["model"]
    return state


def test_gradient_checkpointing_computes_layers_again_and_trains_the_same(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, calls, forward = [], list[int](), LlamaMLP.forward
    for on in ("false", "true"):
        seen: list[LlamaMLP] = []

        def counted(layer: LlamaMLP, x: torch.Tensor, seen: list[LlamaMLP] = seen) -> torch.Tensor:
            seen.append(layer)
            result: torch.Tensor = forward(layer, x)
            return result

        monkeypatch.setattr(LlamaMLP, "forward", counted)
        states.append(steps_of(place, f"thrifty-{on}", f"gradient_checkpointing = {on}"))
        calls.append(len(seen))
    assert calls[1] - calls[0] == 4 * 3
    for name, one in states[0].items():
        torch.testing.assert_close(states[1][name], one, atol=1e-4, rtol=0)


def test_ctc_alone_trains_projector_and_blank(place: Path) -> None:
    alone = steps_of(place, "ctc", "ctc_steps = 4")
    path = made(place, "untouched")
    trained(path, "vocabulary")
    fresh = new_model(read_recipe(path)).state_dict()
    moved = {name for name, one in alone.items() if not torch.equal(one, fresh[name])}
    assert "projector.output.weight" in moved and "decoder.model.embed_tokens.rows" in moved
    assert not any(name.endswith((".up", ".down")) for name in moved)


def test_frozen_weights_in_bfloat16(place: Path) -> None:
    more = f'decoder_dtype = "bfloat16"\n{LORA}'
    state = steps_of(place, "short", "", model=more, dtype="bfloat16")
    assert all(one.dtype == torch.float32 and bool(one.isfinite().all()) for one in state.values())
    trained(place / "short.toml", "export")
    assert load_model(place / "short" / "model").name == "model"


def refusal(path: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of the command, which must exit with 2."""
    capsys.readouterr()
    assert run_command(["train", str(path), "--stage", stage]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_decoders_that_cannot_be_are_refused_in_a_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = refusal(made(place, "nobody", decoder="nobody/nothing"), "vocabulary", capsys)
    assert said.startswith("simulst: 'nobody/nothing' is not in the local Hugging Face cache and ")
    tiny_causal(place / "gemma", kind="gemma3_text")
    said = refusal(made(place, "of-gemma", decoder="gemma"), "vocabulary", capsys)
    assert said.endswith("is of type gemma3_text; a speech LLM is built on a decoder of llama, mistral, qwen2, qwen3.")
    tiny_causal(place / "marked")
    spec = json.loads((place / "marked" / "tokenizer.json").read_text())
    spec["added_tokens"].append({**spec["added_tokens"][0], "id": 285, "content": "<sp>"})
    (place / "marked" / "tokenizer.json").write_text(json.dumps(spec))
    said = refusal(made(place, "of-marked", decoder="marked"), "vocabulary", capsys)
    assert (
        said
        == "simulst: The tokenizer of marked has a token <sp> of its own, which is a mark here; take another decoder."
    )
    said = refusal(made(place, "no-vocabulary"), "decoder", capsys)
    assert said.endswith("no-vocabulary holds no vocabulary of a pretrained decoder; run the stage vocabulary.")
    path = made(place, "other-ears")
    path.write_text(path.read_text().replace('"ears"', '"moonshine"'))
    tiny_moonshine(place / "moonshine")
    said = refusal(path, "features", capsys)
    assert said.endswith("moonshine is not of the shape of Moonshine tiny, whose encoder is taken.")
    path = made(place, "unknown-layers", model='lora = { layers = ["query"] }')
    trained(path, "vocabulary")
    assert "has no linear layers named 'query' for LoRA; it has down_proj, " in refusal(path, "decoder", capsys)


def test_a_full_disk_is_a_sentence_and_keeps_the_last_checkpoint(place: Path) -> None:
    samples = "samples = { text_share_start = 1.0, text_share_end = 1.0 }"
    path = made(place, "full", training=samples)
    trained(path, "vocabulary", "decoder")
    checkpoint = place / "full" / "decoder" / "decoder.pt"
    before = checkpoint.read_bytes()
    path.write_text(path.read_text().replace("steps = 4", "steps = 5"))
    for stage, named in (("decoder", "decoder.pt"), ("export", "model.safetensors")):
        # without -B the interpreter would leave truncated bytecode to all later processes
        command = f"ulimit -f 20; exec {sys.executable} -B -m simulst train {path} --stage {stage}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        said = done.stderr.strip().splitlines()
        assert done.returncode == 2 and len(said) == 1 and f"{named} cannot be written" in said[0], done.stderr
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_on_another_base_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps_of(place, "moved", "")
    path = place / "moved.toml"
    path.write_text(path.read_text().replace('"base"', '"other"'))
    assert "but those in " in refusal(path, "export", capsys)
    trained(path, "vocabulary")
    said = refusal(path, "export", capsys)
    assert "decoder.pt rests on a decoder with weights " in said and said.endswith("; train in another work folder.")
    path.write_text(path.read_text().replace('"other"', '"base"').replace("rank = 4", "rank = 8"))
    trained(path, "vocabulary")
    assert "decoder.pt holds weights of another shape than the recipe's model: " in refusal(path, "export", capsys)


def test_keys_that_do_not_go_together_are_refused(place: Path) -> None:
    path = made(place, "keys")
    for changes, sentence in (
        ({'decoder = "base"': 'start = "ears"'}, r"lora and decoder_dtype are for a pretrained decoder; name one"),
        ({'decoder = "base"': 'decoder = "base"\nstart = "ears"'}, r"start goes on from a whole model; leave it out"),
    ):
        text = path.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        (place / "changed.toml").write_text(text)
        with pytest.raises(DataError, match=sentence):
            read_recipe(place / "changed.toml")


def torchrun(*arguments: str) -> str:
    """What two processes print."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launcher, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_with_a_part_of_the_decoder_each_train_what_one_trains(place: Path) -> None:
    """The checkpoint is the same file; what the log says of the development sets is found by both together."""
    states, figures = [], []
    for name, changed in (("undivided", ""), ("divided", "sharded = true\n")):
        path = made(place, name, training="accumulate = 2\ngradient_checkpointing = true")
        path.write_text(changed + path.read_text().replace("steps = 4", "steps = 20"))
        trained(path, "vocabulary")
        if changed:
            torchrun("-m", "simulst", "train", str(path), "--stage", "decoder")
        else:
            trained(path, "decoder")
        states.append(torch.load(place / name / "decoder" / "decoder.pt", weights_only=True))
        figures.append(json.loads((place / name / "decoder" / "log.jsonl").read_text().splitlines()[-1]))
    one, two = states
    assert one["step"] == two["step"] == 20 and one.keys() == two.keys()
    moved = max(float(weights.abs().max()) for name, weights in one["model"].items() if name.endswith(".up"))
    assert moved > 0.02  # they begin at nought
    assert list(two["model"]) == list(one["model"])
    for name, weights in one["model"].items():
        torch.testing.assert_close(two["model"][name], weights, atol=1e-3, rtol=0)
    assert figures[1]["dev_text"] == pytest.approx(figures[0]["dev_text"], abs=1e-3)
    trained(place / "divided.toml", "decoder", "export")  # one process takes it from there
    assert load_model(place / "divided" / "model").name == "model"


PARTS = """
import sys
from pathlib import Path
import numpy as np
import torch
from simulst.training.batch import collate
from simulst.training.checkpoints import new_model
from simulst.training.objective import cross_entropy, forward
from simulst.training.ranks import Ranks
from simulst.training.recipe import read_recipe
from simulst.training.sample import Sample
from simulst.training.sharding import is_sharded, shard

recipe, cpu = read_recipe(Path(sys.argv[1])), torch.device("cpu")
ranks, whole, part = Ranks(cpu), new_model(recipe), new_model(recipe)
first = whole.decoder.get_input_embeddings().first
vectors = np.random.default_rng(ranks.rank).integers(0, 60_000, (40, 128)).astype(np.uint16) & np.uint16(0x3FFF)
heard = 9 + 5 * ranks.rank
sample = Sample([first, *[-1] * heard, first + 2, 40, 2], [0.0] * (heard + 2) + [1, 1], (0, heard))
batch = collate([sample], vectors, 128)
frozen = [p.numel() for p in part.decoder.model.layers.parameters() if not p.requires_grad]
shard(part, ranks, cpu)
assert is_sharded(part) and not is_sharded(whole)
here = sum(p.to_local().numel() for p in part.decoder.model.layers.parameters() if not p.requires_grad)
gradients = []
for model in (whole, part):
    for tensor in model.decoder.parameters():
        if tensor.requires_grad:
            torch.manual_seed(tensor.numel())
            tensor.data.add_(0.1 * torch.randn_like(tensor))
    torch.autograd.backward(cross_entropy(forward(model, batch)[0], batch, smoothing=0.1))
    gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 20
for name, gradient in gradients[0].items():
    assert type(gradients[1][name]) is torch.Tensor
    torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)
print(f"rank {ranks.rank} holds {here / sum(frozen):.2f}")
"""


def test_a_part_of_the_weights_gives_whole_gradients(place: Path, tmp_path: Path) -> None:
    path = made(place, "parts")
    trained(path, "vocabulary")
    (tmp_path / "parts.py").write_text(PARTS)
    said = torchrun(str(tmp_path / "parts.py"), str(path))
    # both write at once: the end of a line may come after the other's
    assert sorted(re.findall(r"rank . holds [\d.]{4}", said)) == ["rank 0 holds 0.50", "rank 1 holds 0.50"]


def test_only_frozen_weights_are_divided(place: Path, tmp_path: Path) -> None:
    path = made(place, "alone-sharded")
    path.write_text("sharded = true\n" + path.read_text())
    assert read_recipe(path).computing.sharded
    path.write_text(path.read_text().replace('decoder = "base"', "").replace(LORA, ""))
    with pytest.raises(DataError, match=r"sharded = true is for the frozen weights of a pretrained decoder; leave it"):
        read_recipe(path)
