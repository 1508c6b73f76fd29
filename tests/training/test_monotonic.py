"""Training of write probabilities on a frozen decoder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.translator import Evidence
from simulst.errors import DataError
from simulst.models import load_model
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.training.monotonic import MonotonicConfig, monotonic_loss, padded, train_heads, write_times
from simulst.training.monotonic_data import Table, table_of, tables
from simulst.training.recipe import read_recipe
from simulst.training.run import run_recipe
from simulst.training.speech import SpeechStore

RECIPE = """
name = "tiny"
work = "work"
[data]
train = "none.tsv"
dev = "none.tsv"
voices = { any = 1.0 }
dev_voices = { any = 1.0 }
[model]
encoder = "none"
[monotonic]
clips = 20
layers = 2
steps = 3
batch = 4
"""


def test_when_a_token_is_written() -> None:
    p = torch.tensor([[0.5, 1.0], [0.25, 1.0]])
    assert write_times(p).tolist() == [[0.5, 0.5], [0.125, 0.875]]
    three = write_times(torch.tensor([[0.0, 0.5, 1.0]]))[0]
    assert three.tolist() == pytest.approx([0.0, 0.5, 0.5], abs=1e-5)


def test_probabilities_of_times_sum_to_one() -> None:
    p = torch.rand(3, 2, 7, 5, generator=torch.Generator().manual_seed(0))
    p[..., -1] = 1
    alpha = write_times(p)
    assert alpha.sum(-1).sub(1).abs().max() < 1e-5
    mean = (alpha * torch.arange(5)).sum(-1)
    assert (mean[..., 1:] >= mean[..., :-1] - 1e-5).all()  # no token before the one before it


def made(steps: int, ready: int) -> Table:
    """Tokens that cost 5 nats before step `ready`, which the values of the speech tell."""
    losses = torch.zeros(steps, 4)
    losses[:ready] = 5
    values = torch.zeros(steps, 1, 8)
    values[ready:] = torch.linspace(-1, 1, 8)
    values[:ready] = torch.linspace(1, -1, 8)
    queries = torch.linspace(-1, 1, 8).expand(steps, 4, 1, 8)
    return Table(queries=queries.half(), values=values.half(), losses=losses, heard_s=torch.arange(1.0, steps + 1))


def test_shorter_clips_are_padded_without_a_trace() -> None:
    config = MonotonicConfig(steps=1, batch=4, hidden=4, heads=2, size=2, layers=1)
    heads = train_heads([made(4, 2)] * 20, [5], config)
    short, long = (monotonic_loss(heads, padded([table]), config) for table in (made(4, 3), made(9, 2)))
    both = monotonic_loss(heads, padded([made(4, 3), made(9, 2)]), config)
    assert abs(float(short[2] - long[2])) > 0.01
    assert [float(one) for one in both] == pytest.approx([float(a + b) / 2 for a, b in zip(short, long, strict=True)])


def test_heads_learn_to_wait_until_the_decoder_knows() -> None:
    config = MonotonicConfig(steps=150, batch=8, hidden=8, heads=2, size=4, layers=1, learning_rate=0.02)
    heads = train_heads([made(6, 1 + i % 4) for i in range(40)], [5], config)
    table = made(6, 3)
    p = heads(table.queries.float(), table.values.float()[:, None])[:, 0].min(-1).values
    assert p[:3].max() < 0.1 and p[3:].min() > 0.9


def test_too_few_clips_are_an_error() -> None:
    with pytest.raises(DataError, match="19 clips are too few to train write probabilities; 20 are needed"):
        train_heads([made(4, 2)] * 19, [5], MonotonicConfig())


def store_of(folder: Path) -> SpeechStore:
    """Four clips of noise, 1.5 s each."""
    folder.mkdir(parents=True)
    noise = (3000 * np.random.default_rng(0).standard_normal(4 * 24_000)).astype(np.int16)
    (folder / "000.s16").write_bytes(noise.tobytes())
    (folder / "000.tsv").write_text("".join(f"{i}\tany\t{24_000 * i}\t24000\n" for i in range(4)))
    return SpeechStore(folder)


def test_what_a_table_holds(tmp_path: Path) -> None:
    model = load_model(make_tiny_speech_llm(tmp_path / "tiny"))
    assert isinstance(model, SpeechLLMTranslator)
    samples = store_of(tmp_path / "speech").audio(0)
    table = table_of(model, samples, [1, 2])
    assert table is not None
    steps, tokens = table.losses.shape
    assert steps == 3 and table.heard_s.tolist() == pytest.approx([0.672, 1.344, 1.536])
    assert table.queries.shape == (3, tokens, 2, 32) and table.values.shape == (3, 2, 16)
    session = model.open()
    session.extend_source(samples, is_final=True)
    session.hypothesise(())
    found = tables(model, store_of(tmp_path / "more"), [2], seed=0, count=3, minutes=1)
    assert len(found) == 3 and (table.losses >= 0).all()


@pytest.mark.slow
def test_a_recipe_puts_them_beside_the_weights(tmp_path: Path) -> None:
    folder = make_tiny_speech_llm(tmp_path / "work" / "model")
    store_of(tmp_path / "work" / "speech")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert Evidence.P_CHOOSE not in load_model(folder).provides
    assert run_recipe(read_recipe(tmp_path / "recipe.toml"), "monotonic") == folder
    assert Evidence.P_CHOOSE in load_model(folder).provides
