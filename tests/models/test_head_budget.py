"""A budget by head: streaming heads see the first and the newest entries and hold little more."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from simulst.cli import run
from simulst.core.session import Session
from simulst.errors import ModelError
from simulst.models import load_model
from simulst.models.speech_llm.cache import StreamCache, Tally, attended
from simulst.models.speech_llm.head_budget import BudgetedLayer, HeadBudget
from simulst.models.speech_llm.session import SpeechLLMSession
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.policies import load_policy
from simulst.testing.speech_llm import make_tiny_speech_llm

SHORT = [[0, 0], [1, 0], [2, 0]]
"""Key heads; alignment is read from [1, 0], [1, 3] and [2, 2], whose key heads are [1, 0], [1, 1] and [2, 1]."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")
    (made / "streaming_heads.json").write_text(json.dumps({"heads": SHORT}))
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> SpeechLLMTranslator:
    loaded = load_model(folder, cache="evict")
    assert isinstance(loaded, SpeechLLMTranslator)
    return loaded


def new_cache(model: SpeechLLMTranslator, *, first: int = 3, recent: int = 8) -> StreamCache:
    budget = HeadBudget(streaming=model.weights.streaming_heads(), first=first, recent=recent)
    return model.compute.new_cache(Tally(), budget)


def embeds(count: int) -> torch.Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(0))


def one_by_one_of(cache: StreamCache, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([cache.extend(x[i : i + 1]).hidden for i in range(len(x))])


def budgeted(cache: StreamCache, layer: int) -> BudgetedLayer:
    found = cache.layers[layer]
    assert isinstance(found, BudgetedLayer)
    return found


def test_heads_of_alignment_are_never_short(model: SpeechLLMTranslator) -> None:
    assert model.weights.streaming_heads() == {(0, 0), (2, 0)}


def test_what_is_not_held_is_what_is_not_seen(model: SpeechLLMTranslator) -> None:
    together, one_by_one, x = new_cache(model), new_cache(model), embeds(120)
    expected = together.extend(x).hidden
    found = one_by_one_of(one_by_one, x)
    assert found.sub(expected).abs().max() < 1e-3
    assert len(budgeted(together, 0).held) == 120  # nothing goes before it was seen
    assert len(budgeted(one_by_one, 0).held) <= 3 + 8 + 2 * 16
    assert budgeted(one_by_one, 0).held[:3] == [0, 1, 2] and budgeted(one_by_one, 0).held[-1] == 119
    assert budgeted(one_by_one, 1).of_part == [] and budgeted(one_by_one, 1).stored == 240  # alignment is read there


def test_a_streaming_head_sees_the_first_and_the_newest_entries(model: SpeechLLMTranslator) -> None:
    cache = new_cache(model, first=2, recent=3)
    cache.extend(embeds(9))
    layer, queries = budgeted(cache, 0), torch.randn(1, 4, 1, 8, generator=torch.Generator().manual_seed(1))
    keys, values = layer.keys, layer.values
    all_seen, some = attended(queries, keys, values, None), [0, 1, 6, 7, 8]
    few_seen = attended(queries, keys[:, :, some], values[:, :, some], None)
    found = layer.attend(queries, None)
    assert found[:, :2].sub(few_seen[:, :2]).abs().max() < 1e-6  # two queries' heads share a key head
    assert found[:, 2:].sub(all_seen[:, 2:]).abs().max() < 1e-6


def test_a_wide_budget_is_no_budget(model: SpeechLLMTranslator) -> None:
    wide, plain, x = new_cache(model, recent=500), model.compute.new_cache(Tally()), embeds(90)
    for part in (x[:40], x[40:41], x[41:]):
        assert wide.extend(part).hidden.sub(plain.extend(part).hidden).abs().max() < 1e-3
    for cache in (wide, plain):
        cache.keep([0, 1, 2, *range(30, 90)])
        cache.crop(50)
    assert wide.layers[0].keys.sub(plain.layers[0].keys).abs().max() < 1e-5
    assert wide.extend(x[:5]).hidden.sub(plain.extend(x[:5]).hidden).abs().max() < 1e-3


def test_what_is_taken_back_leaves_no_gap(model: SpeechLLMTranslator) -> None:
    straight, back, x = new_cache(model), new_cache(model), embeds(100)
    one_by_one_of(straight, x[:90])
    one_by_one_of(back, x)
    back.crop(90)
    assert back.extend(x[:1]).hidden.sub(straight.extend(x[:1]).hidden).abs().max() < 1e-3


@pytest.mark.slow
def test_an_endless_stream_holds_less(folder: Path) -> None:
    policy = load_policy("infinite-heads", **{"history.max_entries": 100, "history.recent": 10})
    session = Session(load_model(folder), policy, chunk_ms=672)
    for step in range(40):
        session.feed((0.1 * np.random.default_rng(step).standard_normal(10_752)).astype(np.float32))
    assert isinstance(session._translator, SpeechLLMSession) and session._translator._interleaved is not None
    stream = session._translator._interleaved
    assert "".join(entry.kind[0] for entry in stream.entries)[:7] == "pppssss"
    layer = budgeted(stream.cache, 0)
    assert layer.held[:7] == list(range(7)) and len(layer.held) <= 7 + 10 + 2 * 16 + 20  # one turn may come on top
    assert layer.stored == len(stream.cache) + len(layer.held) < 2 * len(stream.cache)
    assert session.decoder_positions is not None and session.decoder_positions < 40 * 40


def test_models_without_such_heads_say_how_to_find_them(folder: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    (bare / "streaming_heads.json").unlink()
    with pytest.raises(ModelError, match=r"has no streaming_heads.json; make it with `simulst calibrate MODEL"):
        Session(load_model(bare), load_policy("infinite-heads"))
    (bare / "streaming_heads.json").write_text('{"heads": [[0, 7]]}')
    with pytest.raises(ModelError, match=r"Streaming head \[0, 7\] does not exist: the decoder has layers 0 to 2"):
        load_model(bare)


def test_other_decoders_are_refused(tmp_path: Path) -> None:
    made = make_tiny_speech_llm(tmp_path / "qwen3", model_type="qwen3")
    (made / "streaming_heads.json").write_text(json.dumps({"heads": SHORT}))
    with pytest.raises(ModelError, match=r"A budget by head needs a decoder of plain Llama layers"):
        Session(load_model(made), load_policy("infinite-heads"))


def test_beams_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="A budget by head is for greedy decoding; load with beams=1"):
        Session(load_model(folder, beams=4), load_policy("infinite-heads"))


def test_calibration_finds_the_cheapest_heads(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        noise = 0.1 * np.random.default_rng(number).standard_normal(48_000)
        soundfile.write(tmp_path / f"{number}.wav", noise, 16_000)
    line = [
        "calibrate",
        str(folder),
        "--data",
        str(tmp_path),
        "--streaming",
        "--share",
        "0.34",
        "--join",
        "2",
        "--json",
    ]
    assert run([*line, "--output", str(tmp_path / "heads.json")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["heads"]) == 2  # of 6 key heads
    assert not {(1, 0), (1, 1), (2, 1)} & {tuple(head) for head in found["heads"]}
    assert found["costs"] == sorted(found["costs"]) and found["examples"] == 1
    assert json.loads((tmp_path / "heads.json").read_text())["heads"] == found["heads"]
