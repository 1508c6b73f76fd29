"""Recipes with encoders of the hub: every stage that needs no synthesiser, and the model that comes of it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from simulst.cli import run as run_command
from simulst.core.events import WriteEvent
from simulst.core.query import Query
from simulst.core.session import Session
from simulst.core.source import FloatArray
from simulst.core.translator import Translator
from simulst.errors import ModelError, PolicyError
from simulst.models import load_model
from simulst.models.batchers import batcher_of
from simulst.models.speech_llm.hub_encoders import empty_encoder, network_of
from simulst.policies import POLICIES, load_policy
from simulst.testing.checkpoints import tiny_moonshine, tiny_moonshine_streaming, tiny_whisper
from simulst.testing.encoder_checkpoints import (
    tiny_fairseq2_w2v_bert,
    tiny_fairseq2_wav2vec2,
    tiny_w2v_bert,
    tiny_wav2vec2,
)
from simulst.testing.text_checkpoints import tiny_causal
from simulst.training.features import read_talks
from simulst.training.recipe import read_recipe
from simulst.training.run import run_recipe

PAIRS = [("the cat sat", "die Katze saß"), ("a dog ran home", "ein Hund lief heim"), ("we will see", "wir sehen 12")]
RECIPE = """
name = "tiny"
work = "{work}"
threads = 1
device = "cpu"
[data]
train = "pairs.tsv"
dev = "pairs.tsv"
voices = {{}}
dev_voices = {{}}
scored = 1
[model]
encoder = "{encoder}"
decoder = "base"
lora = {{ rank = 4, alpha = 8 }}
{window}
[imitation]
steps = 0
[decoder]
steps = 3
positions = 300
warmup_steps = 1
checkpoint_steps = 3
ctc_random_tokens = 20
[incremental]
steps = 3
positions = 300
warmup_steps = 1
checkpoint_steps = 3
ctc_random_tokens = 20
samples = {{ read_write_share = 0.4, turn_share = 0.2, grouped_share = 0.2, cascade_share = 0.1 }}
[export]
adapter_only = {adapter}
"""
MAKERS: dict[str, Callable[[Path], Path]] = {
    "whisper": tiny_whisper,
    "wav2vec2": tiny_wav2vec2,
    "wav2vec2-bert": tiny_w2v_bert,
    "moonshine_streaming": tiny_moonshine_streaming,
}
WINDOW = "window = { block_s = 0.4, lookahead_s = 0.2, left_s = 1.0 }"
INSIDE = {"whisper": "model.encoder.", "wav2vec2": "wav2vec2.", "moonshine_streaming": "model.encoder."}
"""Where the encoder is in a checkpoint."""
pytestmark = pytest.mark.slow
STAGES = ("vocabulary", "encoder", "features", "decoder", "annotate", "incremental", "export")


def spoken(folder: Path, seconds: float) -> None:
    """A clip of noise for every sentence, as the stage `speech` leaves them."""
    folder.mkdir(parents=True)
    size = round(seconds * 16_000)
    rng = np.random.default_rng(0)
    (folder / "000.s16").write_bytes((rng.normal(size=3 * size) * 3_000).astype(np.int16).tobytes())
    (folder / "000.tsv").write_text("".join(f"{n}\tv\t{n * size}\t{size}\n" for n in range(3)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub-encoders")
    tiny_causal(folder / "base")
    (folder / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS))
    return folder


def made(place: Path, kind: str, *, name: str = "", adapter: str = "false") -> Path:
    """A recipe with clips, whose stages are to be run."""
    name = name or kind
    for part, seconds in (("speech", 1.7), ("devspeech_known", 1.1), ("devspeech_unseen", 0.9)):
        spoken(place / f"run-{name}" / part, seconds)
    path, window = place / f"{name}.toml", "" if kind == "moonshine_streaming" else WINDOW
    path.write_text(RECIPE.format(work=f"run-{name}", encoder=kind, adapter=adapter, window=window))
    return path


def trained(place: Path, kind: str) -> Path:
    """The model that the recipe makes, made once."""
    folder = place / f"run-{kind}" / "model"
    if not folder.is_dir():
        MAKERS[kind](place / kind)
        recipe = read_recipe(made(place, kind))
        for stage in STAGES:
            assert run_recipe(recipe, stage) == folder
    return folder


@pytest.fixture(scope="module", params=list(MAKERS))
def exported(place: Path, request: pytest.FixtureRequest) -> Path:
    return trained(place, str(request.param))


def noise(seconds: float) -> FloatArray:
    return np.random.default_rng(0).normal(scale=0.1, size=round(seconds * 16_000)).astype(np.float32)


def test_the_encoder_of_the_hub_is_in_the_model_as_it_was(place: Path, exported: Path) -> None:
    described = json.loads((exported / "simulst.json").read_text())
    kind = exported.parent.name[4:]
    sliding = kind == "moonshine_streaming"
    assert described["stack"] == described["encoder"]["frame_multiple"] == 5
    assert described["encoder"]["network"]["model_type"] == (f"{kind}_encoder" if sliding else kind)
    if not sliding:
        assert [described["encoder"][f"{part}_frames"] for part in ("left", "block", "lookahead")] == [50, 20, 10]
    tensors, published = load_file(exported / "model.safetensors"), load_file(place / kind / "model.safetensors")
    inside, ours_inside = INSIDE.get(kind, ""), f"encoder.network.{'' if sliding else 'encoder.'}"
    taken = {name: one for name, one in published.items() if name.startswith(inside) and "masked" not in name}
    assert len(taken) > 20
    for name, one in taken.items():
        ours = tensors[ours_inside + name.removeprefix(inside)]
        torch.testing.assert_close(ours.float(), one, atol=2e-3, rtol=1e-3)
    counts = [talk.count for talk in read_talks(exported.parent / "dev_known")]
    assert len(counts) == 3 and all(11 <= count <= 25 for count in counts)


def test_chunks_of_any_size_are_heard_as_the_whole(exported: Path) -> None:
    model: Translator = load_model(exported)
    audio, said = noise(3.3), []
    for pieces in (1, 5, 33):
        session = model.open()
        for number, piece in enumerate(np.array_split(audio, pieces), start=1):
            session.extend_source(piece, is_final=number == pieces)
        said.append(session.hypothesise((), Query(max_new=8))[0].ids)
    assert model.frame_s == 0.1 and said[0] == said[1] == said[2] and len(said[0]) > 2


@pytest.mark.parametrize("positions", ["batch", "grouped"])
def test_every_policy_runs_on_it_or_says_why_not(exported: Path, positions: str) -> None:
    options = {"positions": "grouped", "cache": "evict"} if positions == "grouped" else {}
    model, refused = load_model(exported, **options), set()
    for policy in ("gpe_wait_k", "infinite", "read_write", "emma") if positions == "grouped" else POLICIES:
        try:
            session = Session(model, load_policy(policy), chunk_ms=640)
        except PolicyError as error:
            assert f"Policy {policy} needs " in str(error)
            refused.add(policy)
            continue
        shown = ""
        for event in [*session.feed(noise(1.4)), *session.finish()]:
            if isinstance(event, WriteEvent):
                shown = shown[: len(shown) - event.retract] + event.text
        assert shown == session.text
    assert refused == ({"emma"} if positions == "grouped" else {"emma", "gpe_wait_k", "joint", "transducer"})


def test_streams_that_are_decoded_together_say_what_each_says_alone(exported: Path) -> None:
    model = load_model(exported)
    several = batcher_of(model, streams=2)

    def heard(one: Translator, audio: FloatArray) -> str:
        session = Session(one, load_policy("wait_k"))
        session.feed(audio)
        session.finish()
        return session.text

    audio = [noise(2.0), noise(3.1)]
    assert several.map(heard, audio) == [heard(model, one) for one in audio]


def test_an_encoder_is_heard_whole_and_computed_anew(exported: Path) -> None:
    for options in ({"encoder": "full"}, {"dtype": "int8"}, {"dtype": "bfloat16"}):
        session = Session(load_model(exported, **options), load_policy("offline"))
        session.feed(noise(2.0))
        session.finish()
        assert session.text


def test_an_adapter_alone_holds_the_encoder_too(place: Path) -> None:
    tiny_wav2vec2(place / "adapted")
    recipe = read_recipe(made(place, "adapted", adapter="true"))
    for stage in ("vocabulary", "features", "decoder", "export"):
        folder = run_recipe(recipe, stage)
    names = set(load_file(folder / "model.safetensors"))
    assert any(name.startswith("encoder.network.") for name in names)
    assert not any(name.startswith("decoder.") and name.endswith("q_proj.weight") for name in names)
    assert load_model(folder).frame_s == 0.1


@pytest.mark.parametrize("large", [False, True])
def test_a_file_of_fairseq2_is_an_encoder_too(place: Path, large: bool) -> None:
    name = f"fairseq2-{large}"
    (tiny_fairseq2_wav2vec2 if large else tiny_fairseq2_w2v_bert)(place / f"{name}.pt")
    recipe = read_recipe(made(place, f"{name}.pt", name=name))
    for stage in ("vocabulary", "encoder", "features", "decoder", "export"):
        folder = run_recipe(recipe, stage)
    (place / f"{name}.pt").unlink()  # the model holds it
    described = json.loads((folder / "simulst.json").read_text())
    assert described["encoder"]["network"]["model_type"] == ("wav2vec2" if large else "wav2vec2-bert")
    session = Session(load_model(folder), load_policy("wait_k"))
    session.feed(noise(2.0))
    session.finish()
    assert session.text


def test_a_file_of_fairseq2_that_cannot_be_read_stops_the_command(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(place, "broken.pt", name="broken")
    said = refusal(path, "features", capsys)
    assert said == "simulst: The encoder broken.pt does not exist; give a file of fairseq2, a folder or a hub name."
    (place / "broken.pt").write_bytes(b"hello")
    said = refusal(path, "features", capsys)
    assert said.startswith(f"simulst: {place}/broken.pt cannot be read as tensors of fairseq2: ")


@pytest.mark.parametrize("make", [tiny_wav2vec2, tiny_w2v_bert, tiny_whisper])
def test_nothing_is_drawn_for_weights_that_are_still_to_come(make: Callable[[Path], Path], tmp_path: Path) -> None:
    network = network_of(make(tmp_path / "encoder"))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    encoder = empty_encoder(network, normalise=True)
    assert torch.equal(before, torch.get_rng_state())
    assert all(one.device.type == "cpu" for one in (*encoder.parameters(), *encoder.buffers()))


def refusal(path: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of the command, which must exit with 2."""
    capsys.readouterr()
    assert run_command(["train", str(path), "--stage", stage]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_what_cannot_be_is_refused_in_a_sentence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_wav2vec2(place / "refused")
    path = made(place, "refused")
    whole = path.read_text()
    path.write_text(whole.replace("[imitation]\nsteps = 0", "[imitation]\nsteps = 2"))
    said = refusal(path, "encoder", capsys)
    assert said == "simulst: The encoder of refused is taken as it is; say [imitation] steps = 0."
    path.write_text(whole.replace("block_s = 0.4", "block_s = 0.01"))
    assert "model.window.block_s is 0.01; it must be between 0.1 and 10." in refusal(path, "features", capsys)
    path.write_text(whole.replace('"refused"', '"whisper-too-far"').replace("left_s = 1.0", "left_s = 30.0"))
    tiny_whisper(place / "whisper-too-far")
    said = refusal(path, "features", capsys)
    assert said.endswith("[model.window] cannot be: a window of 1530 frames is longer than the encoder's 1500.")
    path.write_text(whole.replace('"refused"', '"moonshine"'))
    tiny_moonshine(place / "moonshine")
    said = refusal(path, "features", capsys)
    assert said.endswith("is for encoders without a causal form; this one has its own, so leave it out.")
    path.write_text(whole.replace('"refused"', '"base"'))
    assert "is of type llama; a speech LLM hears with an encoder of moonshine, " in refusal(path, "features", capsys)


WRONG: list[tuple[str, dict[str, object], str]] = [
    ("whisper", {"network": {"model_type": "clap"}}, r"describes a model that cannot be built: "),
    ("whisper", {"network": []}, r"encoder\.network must be an object\.$"),
    ("whisper", {"block_frames": 21}, r"not a valid model description: block_frames, 21, is no multiple of 5\.$"),
    ("whisper", {"normalise": 3}, r"encoder\.normalise must be true or false\.$"),
    ("whisper", {"pad": 3}, r"not a valid model description: unknown key 'pad' of the encoder"),
    ("whisper", {"left_frames": 2_000_000}, r"description: a window of 2000030 frames is longer than 3000\.$"),
    ("whisper", {"left_frames": 1_500}, r"ValueError: a window of 1530 frames is longer than the encoder's 1500\.$"),
    ("moonshine_streaming", {"left_frames": 100}, r"unknown key 'left_frames' of the encoder"),
    ("moonshine_streaming", {"block_frames": 11}, r"description: block_frames, 11, is no multiple of 5\.$"),
    ("moonshine_streaming", {"sliding_windows": [[9_000, 0]]}, r"ValueError: a layer sees more than 3000 frames\.$"),
]


@pytest.mark.parametrize(("kind", "values", "sentence"), WRONG)
def test_a_description_that_cannot_be_is_a_sentence(
    place: Path, tmp_path: Path, kind: str, values: dict[str, object], sentence: str
) -> None:
    folder = trained(place, kind)
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    described = json.loads((folder / "simulst.json").read_text())
    for key, value in values.items():
        (described["encoder"]["network"] if key == "sliding_windows" else described["encoder"])[key] = value
    (tmp_path / "simulst.json").unlink()
    (tmp_path / "simulst.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match=sentence):
        load_model(tmp_path)


def test_an_encoder_larger_than_its_file_is_not_built(exported: Path, tmp_path: Path) -> None:
    for path in exported.iterdir():
        (tmp_path / path.name).symlink_to(path)
    described = json.loads((exported / "simulst.json").read_text())
    network = described["encoder"]["network"]
    network["d_model" if network["model_type"] == "whisper" else "hidden_size"] = 4_096
    (tmp_path / "simulst.json").unlink()
    (tmp_path / "simulst.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match=r"simulst\.json describes a model larger than its model\.safetensors\.$"):
        load_model(tmp_path)
