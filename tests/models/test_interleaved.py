"""Streams that follow the model's own READ and WRITE tokens, on a tiny random model."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from simulst.core.session import Session
from simulst.core.translator import Evidence, FloatArray, ReadWrite
from simulst.core.turns import TurnSelector
from simulst.errors import ModelError
from simulst.models import load_model
from simulst.models.speech_llm.cache import Tally
from simulst.models.speech_llm.interleaved import Heard, InterleavedStream
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.policies import load_policy
from simulst.policies.read_write import ReadAndWrite
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.training.interleaved import InterleavedMarks, Labels, Write, sequence

WANT = frozenset({Evidence.ALIGNMENT, Evidence.LOGPROBS})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


def load(folder: Path, **options: Any) -> SpeechLLMTranslator:
    model = load_model(folder, **options)
    assert isinstance(model, SpeechLLMTranslator)
    return model


@pytest.fixture(scope="module", params=["rebuild", "evict"])
def model(request: pytest.FixtureRequest, folder: Path) -> SpeechLLMTranslator:
    return load(folder, cache=request.param)


def noise(seconds: float, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(16_000 * seconds))).astype(np.float32)


class Scripted(InterleavedStream):
    """Writes after the vectors that the script names; every vector is one source word."""

    def __init__(self, translator: SpeechLLMTranslator, plan: ReadWrite, after: Sequence[int]) -> None:
        super().__init__(translator.weights, translator.compute.new_cache(Tally()), plan)
        self.after = after

    def _wants_to_write(self, hidden: Tensor) -> list[float]:
        first = self.entries[-len(hidden)].value
        return [float(first + i in self.after) for i in range(len(hidden))]


def heard(model: SpeechLLMTranslator, count: int, first: int = 0, sentence_ends: Sequence[int] = ()) -> Heard:
    vectors = torch.randn(64, model.weights.model.embeddings.shape[1], generator=torch.Generator().manual_seed(1))
    return Heard(
        vectors=vectors[first:count],
        first=first,
        words=lambda a, b: b - a,
        sentence_ends=frozenset(sentence_ends),
    )


def layout(stream: InterleavedStream) -> str:
    """One letter per entry: p, v, W, t, R."""
    letters = {"prompt": "p", "vector": "v", "write": "W", "token": "t", "read": "R"}
    return "".join(letters[entry.kind] for entry in stream.entries)


def chunks(stream: InterleavedStream) -> list[int]:
    """Vectors before each write."""
    return [part.count("v") for part in layout(stream).split("W")[:-1]]


def test_a14_chunks_and_caps(model: SpeechLLMTranslator) -> None:
    caps = list[int]()

    def cap(words: int) -> int:
        caps.append(ReadAndWrite().write_cap(words))
        return 3

    stream = Scripted(model, ReadWrite(max_new=cap), after=(2, 4))
    for word in range(1, 7):
        stream.advance(heard(model, word), False, final=False)
    stream.advance(heard(model, 6), False, final=True)
    assert chunks(stream) == [3, 2, 1]
    assert caps == [56, 54, 52]


def test_several_vectors_at_once_are_as_good_as_one_by_one(model: SpeechLLMTranslator) -> None:
    plan = ReadWrite(max_new=lambda words: 4)
    one, all_at_once = (Scripted(model, plan, after=(2, 4)) for _ in range(2))
    written = [one.advance(heard(model, word), False, final=word == 9) for word in range(1, 10)]
    together = all_at_once.advance(heard(model, 9), False, final=True)
    assert [token for part in written for token in part.ids] == together.ids
    assert layout(one) == layout(all_at_once)
    np.testing.assert_allclose([p for part in written for p in part.logprobs], together.logprobs, atol=1e-4)


def test_the_stream_is_the_sequence_of_training(model: SpeechLLMTranslator) -> None:
    stream = Scripted(model, ReadWrite(latency="low", max_new=lambda words: 3), after=(2, 4))
    first = stream.advance(heard(model, 4), False, final=False).ids
    rest = stream.advance(heard(model, 7), False, final=True).ids
    writes = [Write(after=3, ids=tuple(first)), Write(after=5, ids=tuple(rest[:3]))]
    find = model.vocabulary.mark
    marks = InterleavedMarks(
        prompt=(find("<sp>"), find("<de>")), tags={"low": find("<low>")}, read=find("<read>"), write=find("<write>")
    )
    flush = tuple(rest[3:])
    ids, _ = sequence(writes, 7, marks, "low", Labels(), random.Random(0), decides=True, flush=flush)
    assert [-1 - marks.read if e.kind == "vector" else e.value for e in stream.entries] == ids


def test_a_model_that_never_writes_is_made_to_at_the_end(model: SpeechLLMTranslator) -> None:
    stream = Scripted(model, ReadWrite(max_new=lambda words: 2), after=())
    assert stream.advance(heard(model, 5), False, final=False).ids == []
    written = stream.advance(heard(model, 5), False, final=True)
    assert len(written.ids) > 0
    assert chunks(stream) == [5]
    assert stream.advance(heard(model, 5), False, final=True).ids == []


def test_document_mode_writes_at_a_sentence_end(model: SpeechLLMTranslator) -> None:
    plan = ReadWrite(max_new=lambda words: 2, sentence_words=20)
    stream = Scripted(model, plan, after=())
    stream.advance(heard(model, 30, sentence_ends=(10, 24)), False, final=False)
    assert chunks(stream) == [25]  # at 10 only eleven words had been read


def test_the_cap_closes_a_write_once_and_nothing_unfit_is_written(model: SpeechLLMTranslator) -> None:
    stream = Scripted(model, ReadWrite(max_new=lambda words: 2), after=(1,))
    written = stream.advance(heard(model, 4), False, final=False)
    assert layout(stream) == "pppvvWttRvv"
    assert written.stop == "length"
    assert not set(written.ids) & set(model.vocabulary.special)
    assert len(stream.cache) == len(stream.entries)


def test_written_text_equals_one_forward_over_the_whole_sequence(folder: Path) -> None:
    """READ and WRITE one after the other against teacher forcing of the training sequence."""
    model = load(folder, no_repeat_ngram=0)
    session = model.open()
    plan, ids, logprobs = ReadWrite(max_new=lambda words: 3, threshold=0.4), list[int](), list[float]()
    for step in range(5):
        session.extend_source(noise(1.0, step), is_final=step == 4)
        found = session.read_write(ids, plan, final=step == 4, want=WANT)
        ids += found.ids
        logprobs += found.logprobs or ()
        assert found.alignment is not None
        assert found.alignment.weights.shape == (len(ids), len(session._hearing.vectors))
    stream = session._interleaved
    assert stream is not None and len(ids) >= 9
    assert stream.tokens == ids
    llm, entries = model.weights.model, stream.entries
    embeds = torch.stack(
        [session._hearing.vectors[e.value] if e.kind == "vector" else llm.embeddings[e.value] for e in entries]
    )
    with torch.no_grad():
        logits = llm.decoder(inputs_embeds=embeds[None]).logits[0]
    wants = logits[:, [model.weights.read_mark, model.weights.write_mark]].softmax(-1)[:, 1].tolist()
    logits[:, model.weights.read_mark] = torch.maximum(
        logits[:, model.weights.read_mark], logits[:, model.vocabulary.eos]
    )
    expected = logits.masked_fill(model.weights.suppress_in_write, -torch.inf).log_softmax(-1)
    places = [i for i, entry in enumerate(entries) if entry.kind == "token"]
    assert [int(expected[i - 1].argmax()) for i in places] == ids
    np.testing.assert_allclose(logprobs, [float(expected[i - 1].max()) for i in places], atol=1e-4)
    after = [i for i in range(len(entries) - 1) if entries[i].kind == "vector" and entries[i + 1].kind == "write"]
    assert len(after) > 2
    assert all(wants[i] > 0.4 - 1e-4 for i in after[:-1])  # the last one is the end of the stream


def test_a_write_without_text_leaves_no_trace_unless_it_is_a_turn(model: SpeechLLMTranslator) -> None:
    free = Scripted(model, ReadWrite(max_new=lambda words: 0), after=(1,))
    free.advance(heard(model, 4), False, final=False)
    assert layout(free) == "pppvvvv"
    turns = InterleavedStream(
        model.weights, model.compute.new_cache(Tally()), ReadWrite(turn=1, max_new=lambda words: 0)
    )
    turns.advance(heard(model, 16), False, final=False)
    assert model.weights.block_vectors == 7
    assert layout(turns) == "ppp" + 2 * ("v" * 7 + "WR") + "vv"
    assert [(turn.tokens, turn.entries) for turn in turns.turns()[0]] == [(0, 9), (0, 9)]
    assert turns.turns()[1] == 2


def test_what_was_not_committed_is_taken_back_and_read_again(model: SpeechLLMTranslator) -> None:
    plan = ReadWrite(max_new=lambda words: 3)
    stream = Scripted(model, plan, after=(2, 5))
    ids = stream.advance(heard(model, 8), False, final=False).ids
    assert layout(stream) == "pppvvvWtttRvvvWtttRvv"
    stream.follow(ids[:4])
    assert (layout(stream), stream.next) == ("pppvvvWtttRvvvWtR", 6)
    stream.follow(ids[:3])
    assert (layout(stream), stream.next) == ("pppvvvWtttRvvv", 6)
    stream.follow([])
    assert (layout(stream), stream.next, stream.read_since) == ("pppvvv", 3, 0)
    stream.advance(heard(model, 8), False, final=False)
    assert layout(stream) == "pppvvvvvvWtttRvv"  # vector 2 was read, so what it wanted is not asked again
    stream.follow([77, 78])
    assert stream.tokens == [77, 78]


def test_dropped_turns_leave_prompt_and_the_newer_ones(folder: Path) -> None:
    plan = ReadWrite(max_new=lambda words: 3)
    model, rebuilt = load(folder, cache="evict"), load(folder, cache="rebuild")
    streams = [Scripted(one, plan, after=(2, 5)) for one in (model, rebuilt)]
    for stream in streams:
        stream.advance(heard(model, 8), False, final=False)
        stream.drop_target(3)
        stream.drop_source(3)
        assert layout(stream) == "pppvvvWtttRvv"
        assert [entry.value for entry in stream.entries if entry.kind == "vector"] == [3, 4, 5, 6, 7]
        stream.advance(heard(model, 9, first=3), False, final=False)
        assert stream.cache.positions == list(range(len(stream.entries)))
    evicted, fresh = (stream.cache.layers[0] for stream in streams)
    assert evicted.keys.sub(fresh.keys).abs().max() < 1e-5
    assert evicted.values.sub(fresh.values).abs().max() < 1e-5


@pytest.mark.slow
def test_turns_are_forgotten_when_the_cache_is_full(folder: Path) -> None:
    model = load(folder, cache="evict")
    session = Session(model, load_policy("infinite"), chunk_ms=672)
    selector = session._history
    assert isinstance(selector, TurnSelector)
    positions = list[int]()
    for step in range(60):
        session.feed(noise(1.0, step))
        turns, newest = session._translator.turns()  # type: ignore[attr-defined]
        assert sum(turn.entries for turn in turns) + newest <= 320
        positions.append(session._translator.tally.positions)  # type: ignore[attr-defined]
    session.finish()
    assert session._translator.start_s > 20
    assert positions[-1] - positions[-11] <= 1.3 * (positions[20] - positions[10])


def test_by_default_turns_are_evicted_and_the_models_own_writes_rebuilt(folder: Path) -> None:
    """Fed positions after a trim: the new ones only, or everything that stays too."""
    model = load(folder)
    fed = []
    for plan in (ReadWrite(turn=1, max_new=lambda words: 1), ReadWrite(max_new=lambda words: 1)):
        session = model.open()
        session.extend_source(noise(8.0))
        written = session.read_write([], plan).ids
        session.drop_source(4.0)
        session.extend_source(noise(0.7, 1))
        before = session.tally.positions
        session.read_write(written, plan)
        fed.append(session.tally.positions - before)
    assert fed[0] < 30 < fed[1]


@pytest.mark.slow
@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_the_source_cap_too_takes_whole_turns(folder: Path, multiple: int) -> None:
    model = load(folder)
    model.max_source_s = 8.0
    session = Session(model, load_policy("infinite", multiple=multiple), chunk_ms=672)
    trims = list[tuple[int, float | None]]()
    trim = session._trim

    def recorded(tokens: int, to_s: float | None) -> None:
        turns = session._translator.turns()[0]  # type: ignore[attr-defined]
        whole = [(sum(turn.tokens for turn in turns[: i + 1]), turns[i].end_s) for i in range(len(turns))]
        assert (tokens, to_s) in [*whole, (0, None)]
        trims.append((tokens, to_s))
        trim(tokens, to_s)

    session._trim = recorded  # type: ignore[method-assign]
    for step in range(20):
        session.feed(noise(1.0, step))
    assert sum(to_s is not None for _, to_s in trims) >= 4
    assert session.stats.forced == 0


def test_unknown_tags_are_refused(folder: Path) -> None:
    session = load(folder).open()
    with pytest.raises(ModelError, match="The latency is one of low, low-medium, medium, medium-high, high, not 'x'"):
        session.read_write([], ReadWrite(latency="x"))
    with pytest.raises(ModelError, match="A turn has 1 or 2 or 3 or 4 blocks of audio, not 9"):
        session.read_write([], ReadWrite(turn=9))


@pytest.mark.parametrize("beams", [1, 3])
def test_what_is_cached_is_what_was_said_whatever_searched(folder: Path, beams: int) -> None:
    session = Session(load(folder, beams=beams), load_policy("infinite-1"), chunk_ms=672)
    for step in range(8):
        session.feed(noise(0.672, step))
    stream, hearing = session._translator._interleaved, session._translator._hearing  # type: ignore[attr-defined]
    weights = stream.weights
    fed = stream.entries[: len(stream.cache)]
    assert any(entry.kind == "token" for entry in fed)
    parts = [
        hearing.vectors[entry.value - hearing.first][None] if entry.kind == "vector" else weights.embed([entry.value])
        for entry in fed
    ]
    fresh = load(folder).compute.new_cache(Tally())
    fresh.extend(torch.cat(parts))
    for layer, expected in zip(stream.cache.layers, fresh.layers, strict=True):
        assert layer.keys.sub(expected.keys).abs().max() < 1e-2


def test_beams_are_searched_inside_a_turn(folder: Path) -> None:
    found = {}
    for beams in (1, 4):
        session = load(folder, beams=beams).open()
        session.extend_source(noise(2.0))
        written = session.read_write((), ReadWrite(turn=1, max_new=lambda words: 4, most=100), want=WANT)
        found[beams] = written.ids
    assert found[4] and found[4] != found[1]
