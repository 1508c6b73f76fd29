"""Training of a transducer's joint network on a frozen decoder."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from simulst.core.translator import Evidence
from simulst.errors import DataError
from simulst.models import load_model
from simulst.models.speech_llm.cache import Tally
from simulst.models.speech_llm.transducer import JointNetwork
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.training.averaging import write_checkpoint
from simulst.training.recipe import read_recipe
from simulst.training.run import run_recipe
from simulst.training.transducer import (
    Training,
    TransducerConfig,
    judged,
    log_probabilities,
    padded,
    train_joint,
    transducer_loss,
)
from simulst.training.transducer_data import Lattice, Talks, Wanted, collect, lattice_of, own_scores, read_lattices
from simulst.training.transducer_stage import begun

RECIPE = """
name = "tiny"
work = "work"
dtype = "float32"
[data]
train = "none.tsv"
dev = "none.tsv"
voices = { any = 1.0 }
dev_voices = { any = 1.0 }
[model]
encoder = "none"
[transducer]
clips = 20
steps = 4
batch = 4
hidden = 8
label_steps = 2
checkpoint_steps = 2
"""


def paths(frames: int, labels: int) -> Iterator[list[tuple[int, int, bool]]]:
    """Every way from the first frame to the blank of the last: (frame, labels written, whether a label is)."""

    def walk(frame: int, written: int) -> Iterator[list[tuple[int, int, bool]]]:
        if written < labels:
            yield from ([(frame, written, True), *rest] for rest in walk(frame, written + 1))
        if frame < frames - 1:
            yield from ([(frame, written, False), *rest] for rest in walk(frame + 1, written))
        elif written == labels:
            yield [(frame, written, False)]

    return walk(0, 0)


def by_hand(blank: Tensor, label: Tensor, frames: int, labels: int) -> float:
    """The loss of one item by adding up all ways."""
    total = sum(
        math.exp(sum(float(label[t, u] if write else blank[t, u]) for t, u, write in way))
        for way in paths(frames, labels)
    )
    return -math.log(total)


def lattice(frames: int, labels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random log-probabilities of blank and of the next label in a batch of one."""
    chance = torch.Generator().manual_seed(seed)
    scores = torch.randn(1, frames, labels + 1, 2, generator=chance).log_softmax(-1)
    return scores[..., 0], scores[..., :-1, 1]


def test_the_loss_of_a_lattice_of_two_frames_and_one_label() -> None:
    blank = torch.tensor([[[0.5, 0.8], [0.25, 0.9]]]).log()
    label = torch.tensor([[[0.5], [0.75]]]).log()
    found = transducer_loss(blank, label, torch.tensor([2]), torch.tensor([1]))
    assert math.exp(-found.item()) == pytest.approx(0.5 * 0.8 * 0.9 + 0.5 * 0.75 * 0.9)


@pytest.mark.parametrize(("frames", "labels"), [(1, 0), (1, 3), (4, 0), (2, 2), (5, 3), (3, 5)])
def test_the_loss_is_that_of_all_ways(frames: int, labels: int) -> None:
    assert sum(1 for _ in paths(frames, labels)) == math.comb(frames - 1 + labels, labels)
    blank, label = lattice(frames, labels, seed=frames)
    found = transducer_loss(blank, label, torch.tensor([frames]), torch.tensor([labels]))
    assert found.item() == pytest.approx(by_hand(blank[0], label[0], frames, labels), rel=1e-5)


def test_what_is_padded_counts_for_nothing() -> None:
    sizes = [(4, 2), (2, 3), (5, 1)]
    blank, label = torch.full((3, 5, 4), 7.0), torch.full((3, 5, 3), 7.0)
    alone = []
    for i, (frames, labels) in enumerate(sizes):
        one_blank, one_label = lattice(frames, labels, seed=i)
        blank[i, :frames, : labels + 1], label[i, :frames, :labels] = one_blank[0], one_label[0]
        alone.append(transducer_loss(one_blank, one_label, torch.tensor([frames]), torch.tensor([labels])).item())
    frames, labels = torch.tensor(sizes).T
    assert transducer_loss(blank, label, frames, labels).tolist() == pytest.approx(alone, rel=1e-5)


def test_gradients_are_those_of_the_loss() -> None:
    blank, label = (one.double().requires_grad_() for one in lattice(4, 3))
    size = torch.tensor([4]), torch.tensor([3])
    assert torch.autograd.gradcheck(lambda b, y: transducer_loss(b, y, *size), (blank, label))
    posterior = -torch.autograd.grad(transducer_loss(blank, label, *size).sum(), label)[0]
    assert posterior.sum(dim=1).flatten().tolist() == pytest.approx([1, 1, 1])  # every label is written once


def made(frames: int, ready: int) -> Lattice:
    """Two labels that the speech announces from frame `ready` on; the state says how many are written."""
    speech = torch.linspace(-1, 1, 8).repeat(frames, 1)
    speech[:ready] *= -1
    states = torch.stack([torch.eye(8)[:3]] * frames)
    ids, heard_s = torch.tensor([4, 6]), torch.arange(1.0, frames + 1)
    own = own_scores(score, states, ids)
    return Lattice(states=states.half(), speech=speech.half(), ids=ids, own=own, heard_s=heard_s)


def score(states: Tensor) -> Tensor:
    """Of eight tokens; after the states of `made` labels 4 and 6 are as likely as any."""
    return states.log_softmax(-1)


def test_only_what_counts_is_computed_and_probabilities_are_of_blank_and_label() -> None:
    network = JointNetwork(8, 4)
    batch = padded([made(3, 1), made(5, 2)])
    blank, label = log_probabilities(network, batch, score)
    assert blank.shape == (2, 5, 3) and label.shape == (2, 5, 2)
    assert (blank[0, 3:] == 0).all() and (blank[0, :3] < 0).all() and (blank[1] < 0).all()
    expected = torch.log1p(-blank[1, 0, 0].exp()) + torch.eye(8)[0].log_softmax(-1)[4]
    assert label[1, 0, 0].item() == pytest.approx(expected.item(), rel=1e-4)
    alone = log_probabilities(network, batch, None)
    assert torch.equal(blank, alone[0]) and torch.allclose(label, alone[1], atol=1e-3)  # nothing is changed yet


def test_a_network_learns_when_to_write_and_a_penalty_of_delay_to_write_early() -> None:
    times = {}
    for penalty in (0.0, 2.0):
        config = TransducerConfig(
            steps=60, batch=8, hidden=8, learning_rate=0.03, delay_penalty=penalty, checkpoint_steps=60
        )
        training = Training.begin(8, config)
        network = train_joint(training, [made(4, 1 + i % 3) for i in range(40)], score, config, lambda _: None)
        batch = padded([made(4, 2)])
        times[penalty] = judged(network, batch, score)[1]
        with torch.no_grad():
            tokens = network(batch.speech[:, :, None], batch.states)[1].log_softmax(-1)[0, 3]
        assert tokens.argmax(-1)[:2].tolist() == [4, 6]
    assert 1 <= times[2.0] < times[0.0] - 0.1


def test_too_few_clips_are_an_error() -> None:
    config = TransducerConfig()
    with pytest.raises(DataError, match="19 clips are too few to train a transducer; 20 are needed"):
        train_joint(Training.begin(8, config), [made(4, 2)] * 19, score, config, lambda _: None)


def test_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    lattices, config = [made(4, 1 + i % 3) for i in range(20)], TransducerConfig(steps=6, batch=4, checkpoint_steps=3)
    path, saved = tmp_path / "training.pt", list[int]()

    def keep(training: Training) -> None:
        saved.append(training.step)
        if training.step == 3:
            write_checkpoint(training.state(), path)

    whole = train_joint(begun(path, 8, config), lattices, score, config, keep)
    again = train_joint(begun(path, 8, config), lattices, score, config, keep)
    assert saved == [3, 6, 6]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    with pytest.raises(DataError, match=r"is of another network than \[transducer\] describes; remove it"):
        begun(path, 8, TransducerConfig(hidden=5))


def talks_in(folder: Path) -> Path:
    """Vectors of noise: three talks of 16, 40 and 30 vectors, the last of two sentences."""
    folder.mkdir(parents=True)
    noise = torch.randn(86, 128, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    (folder / "vectors.bf16").write_bytes(noise.view(torch.uint16).numpy().tobytes())
    lines = [(0, 16, [[0, 0.5, 15.5]]), (16, 40, [[1, 2.0, 39.0]]), (56, 30, [[2, 1.0, 12.5], [3, 14.9, 29.0]])]
    talks = [{"first": first, "count": count, "voice": "a", "sentences": said} for first, count, said in lines]
    (folder / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechLLMTranslator:
    made = load_model(make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny"))
    assert isinstance(made, SpeechLLMTranslator)
    return made


def test_runs_are_beginnings_of_talks_that_end_with_a_sentence(model: SpeechLLMTranslator, tmp_path: Path) -> None:
    talks = Talks(talks_in(tmp_path / "features"), model.weights)
    drawn = talks.runs(seed=0, most=39)
    assert {len(next(drawn)) for _ in range(40)} == {16, 14, 30}  # 40 vectors are too many
    with pytest.raises(DataError, match="longest_s is shorter than the first sentence of every talk"):
        next(talks.runs(seed=0, most=5))
    with pytest.raises(DataError, match="holds no speech vectors; run the stage features first"):
        Talks(tmp_path / "nowhere", model.weights)


def test_what_a_lattice_holds_and_that_it_is_kept(model: SpeechLLMTranslator, tmp_path: Path) -> None:
    talks = Talks(talks_in(tmp_path / "features"), model.weights)
    vectors = talks._projected(0, 16)
    found = lattice_of(model.weights, model.compute.new_cache(Tally()), vectors)
    assert found is not None
    assert found.states.shape == (3, len(found.ids) + 1, 32) and found.speech.shape == (3, 32)
    assert found.heard_s.tolist() == pytest.approx([0.672, 1.344, 1.536])
    scores = model.weights.model.output.scores(found.states[-1, :-1].float())
    assert scores.masked_fill(model.weights.suppress, -torch.inf).argmax(-1)[0] == found.ids[0]
    folder = tmp_path / "kept"
    first = collect(talks, model.compute.new_cache, folder, Wanted(count=3))
    again = collect(talks, model.compute.new_cache, folder, Wanted(count=3, minutes=1e-9))
    assert len(first) == len(again) == len(read_lattices(folder / "lattices-0000.safetensors")) == 3
    assert all(torch.equal(a.states, b.states) for a, b in zip(first, again, strict=True))


def test_unknown_keys_are_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE + "beams = 2\n")
    with pytest.raises(DataError, match="beams"):
        read_recipe(tmp_path / "recipe.toml")


@pytest.mark.slow
def test_a_recipe_puts_it_beside_the_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_tiny_speech_llm(tmp_path / "work" / "model")
    talks_in(tmp_path / "work" / "features")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert Evidence.TRANSDUCER not in load_model(folder).provides
    assert run_recipe(read_recipe(tmp_path / "recipe.toml"), "transducer") == folder
    assert Evidence.TRANSDUCER in load_model(folder).provides
    assert "20/20 runs" in capsys.readouterr().out
    run_recipe(read_recipe(tmp_path / "recipe.toml"), "transducer")
    assert "step" not in capsys.readouterr().out  # both parts were done
