"""The speech LLM on a tiny random model: caches, alignment rows, sessions, text tasks, the model folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.translator import Draw, Evidence, FloatArray, Query, TokenStep, Verdict
from simulst.errors import ModelError
from simulst.models import load_model
from simulst.testing.speech_llm import make_tiny_speech_llm

WANT = frozenset({Evidence.ALIGNMENT, Evidence.LOGPROBS})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path):  # type: ignore[no-untyped-def]
    return load_model(folder)


def noise(seconds: float, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(16_000 * seconds))).astype(np.float32)


def test_growing_source_equals_one_call(model) -> None:  # type: ignore[no-untyped-def]
    audio = noise(5.0)
    whole, grown = model.open(), model.open()
    whole.extend_source(audio, is_final=True)
    for at in range(0, len(audio), 9_000):
        grown.extend_source(audio[at : at + 9_000], is_final=at + 9_000 >= len(audio))
        grown.hypothesise([20, 21], Query(max_new=3))
    a, b = (s.hypothesise([20, 21], Query(max_new=12, want=WANT))[0] for s in (whole, grown))
    assert a.ids == b.ids
    np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)
    np.testing.assert_allclose(a.alignment.weights, b.alignment.weights, atol=1e-5)


def test_rows_equal_the_attention_that_transformers_reports(model) -> None:  # type: ignore[no-untyped-def]
    session = model.open()
    session.extend_source(noise(3.0), is_final=True)
    prefix = [20, 21, 22]
    found = session.hypothesise(prefix, Query(max_new=4, want=frozenset({Evidence.ALIGNMENT_HEADS})))[0]
    speech, llm = len(session._hearing.vectors), model.weights.model
    text = torch.tensor([model.weights.target_mark, *prefix, *found.ids])
    embeds = torch.cat((llm.embeddings[[model.weights.speech_mark]], session._hearing.vectors, llm.embeddings[text]))
    llm.decoder.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            attentions = llm.decoder(inputs_embeds=embeds[None], output_attentions=True).attentions
    finally:
        llm.decoder.set_attn_implementation("sdpa")
    assert found.alignment is not None and found.alignment.heads is not None
    rows = slice(1 + speech, 1 + speech + len(prefix) + len(found.ids))
    for index, (layer, head) in enumerate(model.weights.attention.heads):
        want = attentions[layer][0, head, rows, 1 : 1 + speech].numpy()
        np.testing.assert_allclose(found.alignment.heads[index], want, atol=1e-5)


def test_two_sessions_do_not_touch(model) -> None:  # type: ignore[no-untyped-def]
    a, b, alone = model.open(), model.open(), model.open()
    one, two = noise(3.0, 1), noise(3.0, 2)
    alone.extend_source(one, is_final=True)
    want = alone.hypothesise([], Query(max_new=10, want=WANT))[0]
    a.extend_source(one[:20_000])
    b.extend_source(two)
    b.hypothesise([], Query(max_new=5))
    a.hypothesise([23], Query(max_new=5))
    a.extend_source(one[20_000:], is_final=True)
    got = a.hypothesise([], Query(max_new=10, want=WANT))[0]
    assert got.ids == want.ids
    np.testing.assert_allclose(got.logprobs, want.logprobs, atol=1e-5)


def test_dropping_source_moves_the_alignment_and_keeps_the_clock(model) -> None:  # type: ignore[no-untyped-def]
    session = model.open()
    session.extend_source(noise(4.0), is_final=True)
    session.drop_source(1.0)
    assert session.start_s == pytest.approx(10 * 0.096)
    assert session.heard_s == pytest.approx(4.0)
    found = session.hypothesise([], Query(max_new=3, want=WANT))[0]
    assert found.alignment is not None
    assert found.alignment.start_s == session.start_s
    assert found.alignment.weights.shape[1] == len(session._hearing.vectors)


def test_no_audio_is_one_empty_hypothesis(model) -> None:  # type: ignore[no-untyped-def]
    found = model.open().hypothesise([20, 21], Query(want=WANT))
    assert [h.ids for h in found] == [()]
    assert found[0].alignment is not None and found[0].alignment.weights.shape == (2, 0)


def test_a_gate_stops_and_reports_the_token_it_refused(model) -> None:  # type: ignore[no-untyped-def]
    session = model.open()
    session.extend_source(noise(3.0), is_final=True)
    free = session.hypothesise([], Query(max_new=6))[0]
    seen: list[TokenStep] = []

    def gate(step: TokenStep) -> Verdict:
        seen.append(step)
        return "stop_drop" if step.index == 2 else "continue"

    gated = session.hypothesise([], Query(max_new=6, gate=gate, want=WANT))[0]
    assert gated.ids == free.ids[:2] and gated.next_id == free.ids[2] and gated.stop == "gate"
    assert seen[0].weights is not None and seen[0].weights.shape == (seen[0].n_valid,)


def test_beams_are_sorted_and_samples_repeat_with_their_seed(model) -> None:  # type: ignore[no-untyped-def]
    session = model.open()
    session.extend_source(noise(3.0), is_final=True)
    beams = session.hypothesise([], Query(max_new=5, n_best=3, want=WANT))
    assert len(beams) == 3 and beams[0].score >= beams[1].score >= beams[2].score
    first, second, other = (
        [h.ids for h in session.hypothesise([], Query(max_new=5, n_best=3, sample=True, seed=s))] for s in (7, 7, 8)
    )
    assert first == second != other


def test_text_tasks_do_not_depend_on_the_batch(model) -> None:  # type: ignore[no-untyped-def]
    session = model.open().text
    texts = ["the cat", "a much longer sentence about the cat", "no"]
    together = session.translate_text(texts, [20], max_new=6)
    alone = [session.translate_text([text], [20], max_new=6)[0] for text in texts]
    assert [h.ids for h in together] == [h.ids for h in alone]
    same = [session.continue_source("the cat", Draw(n=3, max_tokens=4, seed=s)) for s in (1, 1, 2)]
    assert same[0] == same[1] != same[2]
    assert len(same[0]) == 3


def test_source_words_never_decrease(model) -> None:  # type: ignore[no-untyped-def]
    session, counts = model.open(), []
    for at in range(8):
        session.extend_source(noise(0.7, at))
        session.drop_source(0.4 * at)
        counts.append(session.source_words())
    assert counts == sorted(counts)


def test_folder_errors_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "simulst.json").write_text('{"format": "something else"}')
    with pytest.raises(ModelError, match="names the format 'something else'; this version reads"):
        load_model(tmp_path)
    (tmp_path / "simulst.json").write_text((folder / "simulst.json").read_text())
    (tmp_path / "vocabulary.model").write_bytes((folder / "vocabulary.model").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x10")
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match="unknown option 'nope'; known: task, "):
        load_model(folder, nope=1)
