"""Recipes run to their end on a tiny model: one process and two, and means of checkpoints."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from simulst.errors import DataError
from simulst.models import load_model
from simulst.testing.speech_llm import SENTENCES, make_tiny_speech_llm
from simulst.training.averaging import averaged, kept, newest
from simulst.training.greedy import translate_texts
from simulst.training.ranks import Ranks
from simulst.training.recipe import read_recipe
from simulst.training.run import run_recipe

PAIRS = [(SENTENCES[0], SENTENCES[2]), (SENTENCES[1], SENTENCES[3]), (SENTENCES[4], SENTENCES[5])]
RECIPE = """
name = "tiny"
work = "{work}"
threads = 1
device = "cpu"
dtype = "float32"
[data]
train = "pairs.tsv"
dev = "pairs.tsv"
voices = {{}}
dev_voices = {{}}
scored = 1
[model]
encoder = ""
start = "start"
[decoder]
steps = {steps}
positions = 160
warmup_steps = 5
learning_rate = 3e-4
checkpoint_steps = {steps}
ctc_random_tokens = 20
{more}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model to start from, pairs of sentences, and vectors of two talks."""
    folder = tmp_path_factory.mktemp("recipes")
    make_tiny_speech_llm(folder / "start")
    (folder / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS))
    features = folder / "features"
    features.mkdir()
    rng = torch.Generator().manual_seed(0)
    vectors = torch.randn(90, 128, generator=rng).to(torch.bfloat16).view(torch.uint16).numpy()
    (features / "vectors.bf16").write_bytes(vectors.tobytes())
    talks = [
        {"first": 0, "count": 60, "voice": "v", "sentences": [[0, 3.2, 18.0], [1, 22.5, 38.1], [2, 43.0, 57.7]]},
        {"first": 60, "count": 30, "voice": "v", "sentences": [[1, 2.0, 25.0]]},
    ]
    (features / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    return folder


def recipe_of(place: Path, name: str, *, steps: int, more: str) -> Path:
    """A recipe whose next stage is `decoder`."""
    work, path = place / name, place / f"{name}.toml"
    shutil.copytree(place / "features", work / "features")
    shutil.copy(place / "start" / "vocabulary.model", work)
    path.write_text(RECIPE.format(work=name, steps=steps, more=more))
    return path


@pytest.mark.slow
def test_two_processes_train_what_one_trains(place: Path) -> None:
    """The batches of a step, text and speech, are the same ones: one process goes through both, two take one each."""
    more = "accumulate = 2\n"
    one, two = (recipe_of(place, name, steps=50, more=more) for name in ("one", "two"))
    run_recipe(read_recipe(one), "decoder")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "simulst"]
    done = subprocess.run([*launcher, "train", str(two), "--stage", "decoder"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = [torch.load(place / name / "decoder" / "decoder.pt", weights_only=True) for name in ("one", "two")]
    assert [state["step"] for state in states] == [50, 50]
    start = load_model(place / "start").weights.model.state_dict()  # type: ignore[attr-defined]
    names = states[0]["model"]
    assert max((names[name] - start[name]).abs().max() for name in names) > 0.005
    for name, weights in names.items():
        torch.testing.assert_close(states[1]["model"][name], weights, atol=1e-3, rtol=0)


def test_batches_of_a_step_are_divided_among_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks(torch.device("cpu"))
    assert (list(ranks.share(1)), list(ranks.share(3))) == ([0], [0, 1, 2])
    ranks.size, ranks.rank = 2, 1
    assert (list(ranks.share(1)), list(ranks.share(4))) == ([1], [1, 3])
    with pytest.raises(DataError, match=r"^accumulate = 3 cannot be divided among 2 processes; use a multiple\.$"):
        ranks.share(3)


def test_only_training_is_for_several_processes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(recipe_of(place, "several", steps=1, more=""))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DataError, match=r"^The stage vocabulary is for one process; torchrun is for --stage text, dec"):
        run_recipe(recipe)


def test_the_newest_checkpoints_stay_and_their_mean_is_exported(place: Path) -> None:
    path = recipe_of(place, "mean", steps=8, more="keep = 2\n[export]\naverage = 2\n")
    path.write_text(path.read_text().replace("checkpoint_steps = 8", "checkpoint_steps = 2"))
    recipe = read_recipe(path)
    run_recipe(recipe, "decoder")
    folder = recipe.folder / "decoder"
    assert [one.name for one in kept(folder)] == ["step-0000006.pt", "step-0000008.pt"]
    run_recipe(recipe, "export")
    assert exported(recipe.folder) == pytest.approx((weight(kept(folder)[0]) + weight(kept(folder)[1])) / 2, abs=1e-3)
    with pytest.raises(
        DataError, match=r"^The mean of 3 checkpoints needs as many, and .* kept 2; train with keep = 3"
    ):
        newest(folder, 3)
    named = '[export.average]\n"mean/decoder/step-0000006.pt" = 3\n"mean/decoder/decoder.pt" = 1\n'
    path.write_text(path.read_text().replace("[export]\naverage = 2\n", named))
    run_recipe(read_recipe(path), "export")
    six, eight = map(weight, kept(folder))
    assert exported(recipe.folder) == pytest.approx(0.75 * six + 0.25 * eight, abs=1e-3)


def weight(path: Path) -> float:
    """A number that is different in every checkpoint."""
    state = torch.load(path, weights_only=True)["model"]
    return float(state["projector.output.weight"].abs().sum())


def exported(work: Path) -> float:
    from safetensors.torch import load_file

    return float(load_file(work / "model" / "model.safetensors")["projector.output.weight"].float().abs().sum())


def test_a_mean_of_what_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    one, two, torn = (tmp_path / f"{name}.pt" for name in ("one", "two", "torn"))
    torch.save({"model": {"a": torch.ones(2)}}, one)
    torch.save({"model": {"a": torch.ones(3)}}, two)
    torn.write_bytes(b"PK")
    assert averaged({one: 2.0})["a"].tolist() == [1.0, 1.0]
    with pytest.raises(DataError, match=r"two\.pt holds other weights than .*one\.pt; a mean is of one model's\.$"):
        averaged({one: 1.0, two: 1.0})
    with pytest.raises(DataError, match=r"torn\.pt is not a checkpoint of training \("):
        averaged({torn: 1.0})
    with pytest.raises(DataError, match=r"each with a weight above 0\.$"):
        averaged({one: 0.0})


def manifest_of_people(folder: Path) -> Path:
    """Three recordings of two speakers; one of them in capitals, as LibriSpeech writes."""
    import soundfile

    (folder / "people").mkdir()
    rows = [("a", "lj", SENTENCES[0]), ("b", "lj", SENTENCES[1].upper().rstrip(".")), ("c", "held", SENTENCES[4])]
    lines = ["audio\tseconds\tspeaker\ttext\n"]
    for number, (name, speaker, text) in enumerate(rows, 1):
        soundfile.write(folder / "people" / f"{name}.wav", torch.zeros(1_600 * number).numpy(), 16_000)
        lines.append(f"people/{name}.wav\t{number / 10}\t{speaker}\t{text}\n")
    (folder / "people.tsv").write_text("".join(lines))
    return folder / "people.tsv"


def test_recordings_of_people_are_translated_and_go_on_where_they_stopped(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from simulst.training import people_stage

    manifest = manifest_of_people(place)
    more = f"[data.recordings]\nmanifest = '{manifest}'\nheld_speakers = ['held']\n"
    recipe = read_recipe(recipe_of(place, "people-run", steps=1, more=more))
    asked = list[str]()

    def stopped_at_the_second(model: object, source: list[str], *rest: object, **more: object) -> list[str]:
        asked.extend(source)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return translate_texts(model, source, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(people_stage, "PORTION", 1)
    monkeypatch.setattr(people_stage, "translate_texts", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, "recordings")
    run_recipe(recipe, "recordings")
    first, second = SENTENCES[0], asked[1]
    assert second.lower().rstrip(".") == SENTENCES[1].lower().rstrip(".") and not second.isupper()
    assert asked == [first, second, second]  # the first is not translated again
    texts = (recipe.folder / "people.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in texts] == [first, second]
    assert [line.split("\t")[1:] for line in (recipe.folder / "speech" / "people.tsv").read_text().splitlines()] == [
        ["people-lj", "0", "1600"],
        ["people-lj", "1600", "3200"],
    ]
    assert (recipe.folder / "devspeech_people.txt").read_text() == f"{SENTENCES[4]}\n"
    assert "2/2 transcripts translated, 0 min left" in capsys.readouterr().out
