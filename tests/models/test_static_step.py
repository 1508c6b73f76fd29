"""Single tokens in the shapes of a recorded step give what they give one by one, whoever decodes beside them."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from simulst.models import load_model
from simulst.models.speech_llm.batching import Batcher
from simulst.models.speech_llm.cache import StreamCache, Tally
from simulst.models.speech_llm.graphs import Capture, capture_for, uncaptured
from simulst.models.speech_llm.output import OutputLayer
from simulst.models.speech_llm.rotary import Rotary
from simulst.models.speech_llm.slab import SharedSlab
from simulst.models.speech_llm.static_step import BUCKET, CAPACITY, TURNS, StaticForward, StaticSteps, Token
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.models.speech_llm.written import WrittenForward, written_out
from simulst.testing.noise import noise, speak
from simulst.testing.recorder import Recorder
from simulst.testing.speech_llm import make_tiny_speech_llm

pytestmark = pytest.mark.slow

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
WIDTH = 32
RECORDINGS = [noise(seconds, seed) for seed, seconds in enumerate((3.1, 0.7, 5.0))]


def decoder(kind: str = "llama") -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    extra = {"sliding_window": None} if kind == "mistral" else {}
    config = AutoConfig.for_model(kind, **SIZES, **extra)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


class Streams:
    """Streams of a decoder in rows of one slab whose tokens are recorded, and the same ones each by itself."""

    def __init__(self, kind: str = "llama", capture: Capture = uncaptured, *, capacity: int = CAPACITY) -> None:
        model = decoder(kind)
        written, output, self.rotary = written_out(model), OutputLayer.of(model), Rotary.of(model)
        assert written is not None
        self.slab = SharedSlab(capacity=capacity, lasting=True)
        self.steps = StaticSteps(written, output, self.slab, capture)
        self.usual = WrittenForward(written, output)
        self.forward = StaticForward(self.steps, self.usual)

    def open(self) -> StreamCache:
        return StreamCache(self.forward, 3, rotary=self.rotary, slab=self.slab, row=self.slab.take())

    def alone(self) -> StreamCache:
        return StreamCache(self.usual, 3, rotary=self.rotary)


def embeds(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def same(one: StreamCache, other: StreamCache, x: torch.Tensor) -> None:
    """Both are fed the same and give the same."""
    ours, theirs = (cache.extend(x, record=True, score=True) for cache in (one, other))
    assert ours.logits is not None and theirs.logits is not None
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.hidden, theirs.hidden, atol=1e-5, rtol=0)
    for layer in range(3):
        torch.testing.assert_close(ours.queries[layer], theirs.queries[layer], atol=1e-5, rtol=0)
    assert one.positions == other.positions and one.layers[0].length == len(one)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral"])
@pytest.mark.parametrize("recorded", [False, True])
def test_tokens_are_those_of_the_usual_step(kind: str, recorded: bool) -> None:
    """Over three buckets, with parts of several entries, entries that are taken back and evictions between them."""
    streams = Streams(kind, Recorder() if recorded else uncaptured, capacity=8)
    ours, theirs, rng = streams.open(), streams.alone(), random.Random(0)
    same(ours, theirs, embeds(100, 0))
    for number in range(1, 60):
        same(ours, theirs, embeds(rng.choice((1, 1, 1, 1, 9)), number))
        if number % 7 == 0:
            for cache in (ours, theirs):
                cache.crop(len(cache) - 3)
        if number % 25 == 0:
            for cache in (ours, theirs):
                cache.keep([0, *range(20, len(cache))])
    same(ours, theirs, embeds(120, 60))
    for number in range(61, 80):
        same(ours, theirs, embeds(1, number))
    assert len(ours) > 2 * BUCKET
    assert streams.steps.recorded == 3  # one for each bucket


def test_a_recorded_step_is_played_back_and_not_computed_anew() -> None:
    recorder = Recorder()
    streams = Streams(capture=recorder)
    ours, theirs = streams.open(), streams.alone()
    same(ours, theirs, embeds(5, 0))
    for number in range(1, 30):
        same(ours, theirs, embeds(1, number))
    assert (streams.steps.recorded, recorder.played) == (1, 29)


def test_streams_of_a_step_never_touch() -> None:
    """Three streams, one of them longer than a bucket, in a step that is made for four."""
    streams = Streams(capture=Recorder())
    ours, theirs = [streams.open() for _ in range(4)], [streams.alone() for _ in range(4)]
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        same(one, other, embeds((6, 140, 31, 12)[number], number))
    silent = ours[3].layers[1].keys.clone(), ours[3].layers[1].values.clone()
    for number in range(12):
        x = [embeds(1, 100 * number + i) for i in range(3)]
        tokens = [Token(cache=c, embeds=e, position=len(c)) for c, e in zip(ours, x, strict=False)]
        assert streams.steps.fit(tokens)
        for fed, other, e in zip(streams.steps(tokens, record=False), theirs, x, strict=False):
            expected = other.extend(e, score=True).logits
            assert fed.logits is not None and expected is not None and not fed.queries
            torch.testing.assert_close(fed.logits, expected, atol=1e-5, rtol=0)
    assert torch.equal(ours[3].layers[1].keys, silent[0]) and torch.equal(ours[3].layers[1].values, silent[1])
    for one, other in zip(ours, theirs, strict=True):
        same(one, other, embeds(1, 7))
    assert [len(one) for one in ours] == [6 + 13, 140 + 13, 31 + 13, 12 + 1]


def test_what_a_row_held_before_is_gone() -> None:
    """Numbers that are none would come through any mask."""
    streams = Streams()
    first = streams.open()
    first.extend(torch.full((20, WIDTH), torch.nan))
    streams.slab.give_back(first.row)
    ours, theirs = streams.open(), streams.alone()
    assert ours.row == first.row
    same(ours, theirs, embeds(3, 0))
    same(ours, theirs, embeds(1, 1))


def test_steps_are_recorded_anew_once_buffers_moved() -> None:
    streams = Streams(capture=Recorder(), capacity=BUCKET)
    ours, theirs = streams.open(), streams.alone()
    same(ours, theirs, embeds(10, 0))
    same(ours, theirs, embeds(1, 1))
    other, its = streams.open(), streams.alone()  # a second row
    same(other, its, embeds(4, 2))
    same(ours, theirs, embeds(1, 3))
    same(other, its, embeds(1, 4))
    assert streams.steps.recorded == 2


def test_what_cannot_be_recorded_goes_the_usual_way(caplog: pytest.LogCaptureFixture) -> None:
    def refused(step: object) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    streams = Streams(capture=refused)
    ours, theirs = streams.open(), streams.alone()
    for number, count in enumerate((1, 4, 1, 1)):  # the first has no buffers yet
        same(ours, theirs, embeds(count, number))
    assert streams.steps.recorded == 1
    assert "without a CUDA graph: operation not permitted" in caplog.text
    far = Streams()
    ours, theirs = far.open(), far.alone()
    for cache in (ours, theirs):
        cache.extend(embeds(2, 0), [0, TURNS])
    same(ours, theirs, embeds(1, 1))
    assert far.steps.recorded == 0


def test_an_error_of_the_device_is_not_hidden() -> None:
    def lost(step: object) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    streams = Streams(capture=lost)
    cache = streams.open()
    cache.extend(embeds(2, 0))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        cache.extend(embeds(1, 1))


def test_only_a_gpu_records_by_itself() -> None:
    cpu = torch.device("cpu")
    assert capture_for("auto", cpu) is None and capture_for("off", torch.device("cuda")) is None
    assert capture_for("static", cpu) is uncaptured


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")
    (made / "streaming_heads.json").write_text('{"heads": [[0, 0], [2, 1]]}')
    return made


def load(folder: Path, **options: Any) -> SpeechLLMTranslator:
    model = load_model(folder, **options)
    assert isinstance(model, SpeechLLMTranslator)
    return model


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("stream_att-f4", {}),
        ("wait_k-3", {"cache": "evict"}),
        ("gpe_wait_k-3", {"positions": "grouped"}),
        ("read_write", {}),
        ("infinite-heads", {}),
    ],
)
def test_policies_say_the_same(folder: Path, policy: str, options: dict[str, str]) -> None:
    usual, static = load(folder, **options), load(folder, graph="static", **options)
    expected = [speak(usual, policy, audio) for audio in RECORDINGS]
    assert [speak(static, policy, audio) for audio in RECORDINGS] == expected and any(expected)
    steps = static.compute.steps  # type: ignore[attr-defined]
    assert (steps.recorded == 0) == (policy == "infinite-heads")  # whose heads hold different entries
    batcher = Batcher(static, streams=3)
    assert batcher.map(lambda one, audio: speak(one, policy, audio), RECORDINGS) == expected


def test_streams_together_share_a_step(folder: Path) -> None:
    static = load(folder, graph="static")
    batcher = Batcher(static, streams=3)
    batcher.map(lambda one, audio: speak(one, "stream_att-f4", audio), RECORDINGS)
    steps = batcher._direct.steps
    assert steps is not None and {count for count, _ in steps._steps} >= {2, 4}


def test_rows_are_given_back(folder: Path) -> None:
    model = load(folder, graph="static")
    for audio in RECORDINGS * 2:
        speak(model, "wait_k-3", audio)
    slab = model.compute.slab  # type: ignore[attr-defined]
    assert slab.rows == 1
    held = [model.compute.new_cache(Tally()) for _ in range(3)]
    assert sorted(cache.row for cache in held) == [0, 1, 2]
