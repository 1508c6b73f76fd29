"""Tiny random Whisper and Moonshine: streaming decoding must be what one forward over everything says."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
import torch

from simulst.core.source import FloatArray
from simulst.core.translator import Evidence, Query, TokenStep
from simulst.errors import AudioError, ModelError
from simulst.models.seq2seq.decoder_run import DecoderRun
from simulst.models.seq2seq.session import Seq2SeqSession
from simulst.models.seq2seq.translator import Seq2SeqTranslator

ALL = frozenset({Evidence.ALIGNMENT, Evidence.LOGPROBS})


def opened(model: Seq2SeqTranslator, samples: FloatArray, *, is_final: bool = False) -> Seq2SeqSession:
    session = model.open()
    session.extend_source(samples, is_final=is_final)
    return session


def full_forward(model: Seq2SeqTranslator, samples: FloatArray, ids: Sequence[int]) -> tuple[Any, int]:
    """One pass over prompt and ids with transformers' own attention maps, and where the first predicting row stands."""
    prompt = model.prompt()
    window = model.encoder.encode(samples)
    config = model.decoder.config
    before = config._attn_implementation
    config._attn_implementation = "eager"
    try:
        with torch.inference_mode():
            output = model.decoder(
                input_ids=torch.tensor([[*prompt, *ids]]),
                encoder_hidden_states=window.states,
                output_attentions=True,
                use_cache=False,
            )
    finally:
        config._attn_implementation = before
    return output, len(prompt) - 1


def test_cached_decoding_equals_one_full_forward(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    window = tiny.encoder.encode(noise)
    ids = opened(tiny, noise).hypothesise((), Query(max_new=8))[0].ids
    run = DecoderRun(tiny, window, rows=False)
    step, _ = run.start(tiny.prompt(), ids[:3])
    stepwise = [step.logits[0]]
    for token in ids[3:]:
        stepwise.append(run.advance([token], [0]).logits[0])
    output, first = full_forward(tiny, noise, ids)
    expected = run.scores(output.last_hidden_state[0, first + 3 :])
    torch.testing.assert_close(torch.stack(stepwise), expected, atol=2e-4, rtol=1e-4)


def test_rows_are_those_of_output_attentions(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    session = opened(tiny, noise)
    ids = session.hypothesise((), Query(max_new=8))[0].ids
    found = session.hypothesise(ids[:3], Query(max_new=5, want=frozenset({Evidence.ALIGNMENT_HEADS})))[0]
    assert found.ids == ids[3:] and found.alignment is not None and found.alignment.heads is not None
    output, first = full_forward(tiny, noise, ids)
    rows = slice(first, first + len(ids))
    heads = torch.stack([output.cross_attentions[layer][0, head, rows] for layer, head in tiny.attention.heads])
    expected = heads[..., : found.alignment.n_valid].numpy()
    np.testing.assert_allclose(found.alignment.heads, expected, atol=1e-5)
    np.testing.assert_allclose(found.alignment.weights, expected.mean(axis=0), atol=1e-5)
    assert found.alignment.history == 3


def test_median_filter_applies_to_each_head_of_the_mean_row(whisper_dir: Any, noise: FloatArray) -> None:
    """7 frames of 20 ms by default; every head by itself comes unfiltered, for policies that filter."""
    from simulst import load_model
    from simulst.core.alignment import running_median

    model = load_model(whisper_dir, source="de", no_speech=1, no_repeat_ngram=0)
    assert isinstance(model, Seq2SeqTranslator) and model.median_frames == 7
    wants = [frozenset({Evidence.ALIGNMENT}), frozenset({Evidence.ALIGNMENT_HEADS})]
    mean, heads = (opened(model, noise).hypothesise((), Query(max_new=3, want=want))[0].alignment for want in wants)
    assert mean is not None and heads is not None and heads.heads is not None
    expected = running_median(heads.heads, 7).mean(axis=0)[..., 3:]  # the older edge is repeated here, reflected there
    np.testing.assert_allclose(mean.weights[..., 3:], expected, atol=1e-6)
    assert load_model(whisper_dir, source="de", median_s=0).median_frames == 1  # type: ignore[attr-defined]


def test_the_best_tokens_follow_a_forced_prefix(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    session = opened(tiny, noise)
    whole = session.hypothesise((), Query(max_new=9, want=ALL))[0]
    rest = session.hypothesise(whole.ids[:4], Query(max_new=5, want=ALL))[0]
    assert rest.ids == whole.ids[4:]
    assert whole.alignment is not None and rest.alignment is not None
    np.testing.assert_allclose(rest.alignment.weights, whole.alignment.weights, atol=1e-5)
    assert rest.logprobs is not None and whole.logprobs is not None
    np.testing.assert_allclose(rest.logprobs, whole.logprobs[4:], atol=1e-4)


def test_other_beginnings_are_continued_too(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    """A prefix that the model would not have chosen is kept, and changes what follows."""
    session = opened(tiny, noise)
    free = session.hypothesise((), Query(max_new=4, want=ALL))[0]
    forced = session.hypothesise((*free.ids[:1], 9, 11), Query(max_new=4, want=ALL))[0]
    assert len(forced.ids) == 4 and free.logprobs is not None and forced.logprobs is not None
    assert np.abs(np.subtract(forced.logprobs, free.logprobs)).max() > 1e-3  # random weights may choose the same tokens


@pytest.mark.slow
def test_interleaved_sessions_equal_sessions_alone(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    def events(order: Sequence[int]) -> dict[int, list[tuple[Any, ...]]]:
        sessions = {0: tiny.open(), 1: tiny.open()}
        audio = {0: noise, 1: noise[::-1].copy()}
        seen: dict[int, list[tuple[Any, ...]]] = {0: [], 1: []}
        fed = {0: 0, 1: 0}
        for which in order:
            chunk = audio[which][fed[which] : fed[which] + 16_000]
            fed[which] += 16_000
            sessions[which].extend_source(chunk)
            found = sessions[which].hypothesise((), Query(max_new=5, n_best=1 + fed[which] // 32_000, want=ALL))
            for one in found:
                assert one.alignment is not None
                seen[which].append((one.ids, one.logprobs, one.alignment.weights.tobytes()))
        return seen

    assert events([0, 0, 0, 1, 1, 1]) == events([0, 1, 1, 0, 1, 0])


def test_gate_drops_or_keeps_the_token_it_stops_at(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    session = opened(tiny, noise)
    free = session.hypothesise((), Query(max_new=6, want=ALL))[0]
    assert free.alignment is not None and free.logprobs is not None
    steps: list[TokenStep] = []

    def gate(verdict: Literal["stop_keep", "stop_drop"]) -> Any:
        def ask(step: TokenStep) -> Literal["continue", "stop_keep", "stop_drop"]:
            steps.append(step)
            return verdict if step.index == 3 else "continue"

        return ask

    dropped = session.hypothesise((), Query(max_new=6, gate=gate("stop_drop"), want=ALL))[0]
    assert (dropped.ids, dropped.stop, dropped.next_id) == (free.ids[:3], "gate", free.ids[3])
    assert dropped.alignment is not None and dropped.alignment.weights.shape[0] == 3
    kept = session.hypothesise((), Query(max_new=6, gate=gate("stop_keep"), want=ALL))[0]
    assert (kept.ids, kept.stop, kept.next_id) == (free.ids[:4], "gate", None)
    assert [step.index for step in steps] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert [step.token for step in steps[:4]] == list(free.ids[:4])
    np.testing.assert_allclose([step.logprob for step in steps[:4]], free.logprobs[:4], atol=1e-6)
    for i, step in enumerate(steps[:4]):
        assert step.weights is not None and step.n_valid == free.alignment.n_valid
        np.testing.assert_allclose(step.weights, free.alignment.weights[i], atol=1e-6)


def test_beams_carry_the_rows_of_their_own_ancestors(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    session = opened(tiny, noise)
    beams = session.hypothesise((5,), Query(max_new=6, n_best=2, want=ALL))
    assert len(beams) == 2 and beams[0].ids != beams[1].ids and beams[0].score >= beams[1].score
    for beam in beams:
        forced = session.hypothesise((5, *beam.ids), Query(max_new=1, want=ALL))[0]
        assert beam.alignment is not None and forced.alignment is not None and beam.logprobs is not None
        rows = len(beam.ids) + 1
        np.testing.assert_allclose(beam.alignment.weights, forced.alignment.weights[:rows], atol=1e-5)
        assert beam.score == pytest.approx(np.mean(beam.logprobs), abs=1e-5) or beam.stop == "eos"


def test_beams_find_what_greedy_misses_or_the_same(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    session = opened(tiny, noise)
    greedy = session.hypothesise((), Query(max_new=6))[0]
    assert session.hypothesise((), Query(max_new=6, n_best=8))[0].score >= greedy.score - 1e-5


def test_samples_repeat_with_their_seed(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    session = opened(tiny, noise)
    drawn = [
        session.hypothesise((), Query(max_new=5, n_best=3, sample=True, seed=seed, want=ALL)) for seed in (1, 1, 2)
    ]
    ids = [[one.ids for one in found] for found in drawn]
    assert ids[0] == ids[1] != ids[2]
    first = drawn[0][0]
    assert first.alignment is not None and first.alignment.weights.shape[0] == len(first.ids)
    forced = session.hypothesise(first.ids, Query(max_new=1, want=ALL))[0]
    assert forced.alignment is not None
    np.testing.assert_allclose(first.alignment.weights, forced.alignment.weights[: len(first.ids)], atol=1e-5)


def test_audio_is_encoded_once_per_change(
    reencoding: Seq2SeqTranslator, noise: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    encode = reencoding.encoder.encode

    def counted(samples: FloatArray) -> Any:
        lengths.append(len(samples))
        return encode(samples)

    monkeypatch.setattr(reencoding.encoder, "encode", counted)
    session = opened(reencoding, noise[:32_000])
    first = session.hypothesise((), Query(max_new=2))[0]
    again = session.hypothesise(first.ids, Query(max_new=2))[0]
    session.extend_source(np.zeros(0, dtype=np.float32))
    session.hypothesise(first.ids + again.ids, Query(max_new=2, n_best=2))
    assert lengths == [32_000]
    session.extend_source(noise[32_000:48_000])
    session.hypothesise((), Query(max_new=1))
    session.drop_source(0.0)
    session.hypothesise((), Query(max_new=1))
    assert lengths == [32_000, 48_000]


def test_dropping_audio_rounds_down_to_a_frame_and_equals_never_having_it(
    reencoding: Seq2SeqTranslator, noise: FloatArray
) -> None:
    session = opened(reencoding, noise)
    frame = reencoding.encoder.frame_samples
    session.drop_source((10 * frame + frame // 2) / 16_000)
    assert session.start_s == 10 * frame / 16_000 and session.heard_s == 4.0
    kept = session.hypothesise((), Query(max_new=4, want=ALL))[0]
    fresh = opened(reencoding, noise[10 * frame :]).hypothesise((), Query(max_new=4, want=ALL))[0]
    assert kept.ids == fresh.ids and kept.alignment is not None and fresh.alignment is not None
    assert kept.alignment.start_s == 10 * frame / 16_000 and fresh.alignment.start_s == 0
    np.testing.assert_array_equal(kept.alignment.weights, fresh.alignment.weights)
    session.drop_source(0.0)
    assert session.start_s == 10 * frame / 16_000


@pytest.mark.parametrize("samples", [0, 1, 1599])
def test_too_little_audio_gives_one_empty_hypothesis(tiny: Seq2SeqTranslator, samples: int) -> None:
    session = opened(tiny, np.zeros(samples, dtype=np.float32))
    found = session.hypothesise((4, 5), Query(want=ALL))
    assert len(found) == 1 and found[0].ids == () and found[0].stop == "eos" and found[0].logprobs == ()
    assert found[0].alignment is not None
    assert found[0].alignment.weights.shape == (2, 0) and found[0].alignment.n_valid == 0
    assert session.transcript() == ""


def test_nothing_is_generated_beyond_the_cap(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    session = opened(tiny, noise)
    assert session.hypothesise((3,), Query(max_new=0))[0].ids == ()
    one = session.hypothesise((3,), Query(max_new=1))[0]
    assert len(one.ids) <= 1
    # The prompt, the prefix and what is new never pass the decoder's positions, however long the prefix is.
    long = session.hypothesise([3, 4] * 100, Query(max_new=1000, want=ALL))[0]
    assert long.alignment is not None and long.alignment.weights.shape[0] == 200 + len(long.ids)
    assert not long.alignment.weights[:100].any() and long.alignment.weights[199].any()
    assert len(long.ids) < tiny.positions


@pytest.mark.parametrize(
    "samples", [np.array([0.1, np.nan], dtype=np.float32), np.zeros((2, 2), dtype=np.float32)], ids=["nan", "stereo"]
)
def test_refuses_audio_that_is_no_mono_signal(tiny: Seq2SeqTranslator, samples: FloatArray) -> None:
    with pytest.raises(AudioError, match=r"^Audio must be mono samples that are finite numbers\.$"):
        tiny.open().extend_source(samples)


def test_counting_words_is_refused(tiny: Seq2SeqTranslator) -> None:
    with pytest.raises(ModelError, match="does not count source words"):
        tiny.open().source_words()
    assert Evidence.CTC_COUNTS not in tiny.provides


def test_no_five_gram_comes_twice(whisper_dir: Any, noise: FloatArray) -> None:
    from simulst import load_model

    def longest_repeat(no_repeat_ngram: int) -> bool:
        model = load_model(whisper_dir, source="de", no_speech=1, no_repeat_ngram=no_repeat_ngram)
        session = model.open()
        session.extend_source(noise)
        ids = session.hypothesise((), Query(max_new=60))[0].ids
        grams = [ids[i : i + 2] for i in range(len(ids) - 1)]
        return len(grams) != len(set(grams))

    assert longest_repeat(0) and not longest_repeat(2)


def test_every_head_can_be_read_for_calibration(tiny: Seq2SeqTranslator, noise: FloatArray) -> None:
    before = list(tiny.attention.heads)
    session = opened(tiny, noise)
    ids = session.hypothesise((), Query(max_new=5))[0].ids
    try:
        every = tiny.use_heads(None)
        found = session.hypothesise(ids, Query(max_new=1, want=frozenset({Evidence.ALIGNMENT_HEADS})))[0].alignment
    finally:
        assert tiny.use_heads(before) == before
    output, first = full_forward(tiny, noise, ids)
    assert every == [(layer, head) for layer in range(2) for head in range(4)]
    assert found is not None and found.heads is not None
    expected = torch.cat([layer[0, :, first : first + 5] for layer in output.cross_attentions]).numpy()
    np.testing.assert_allclose(found.heads[:, :5], expected[..., : found.n_valid], atol=1e-5)
