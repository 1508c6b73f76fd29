from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulst import load_model
from simulst.core.source import FloatArray
from simulst.core.translator import Evidence, Query
from simulst.errors import ModelError
from simulst.models.seq2seq.whisper import Whisper
from simulst.testing.checkpoints import tiny_whisper

SPACE, EOS = 32, 282
START, DE, EN, JA, TRANSLATE, TRANSCRIBE = range(EOS + 1, EOS + 7)
PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = EOS + 8, EOS + 9, EOS + 10
ALIGNMENT = frozenset({Evidence.ALIGNMENT})


def whisper(directory: Path, **options: Any) -> Whisper:
    model = load_model(directory, **{"source": "de", "no_speech": 1, "min_source_s": 0, **options})
    assert isinstance(model, Whisper)
    return model


@pytest.fixture(scope="module")
def german(whisper_dir: Path) -> Whisper:
    return whisper(whisper_dir)


@pytest.fixture(scope="module")
def english_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("models") / "tiny-whisper.en", multilingual=False)


def test_prompt_names_language_and_task(whisper_dir: Path, german: Whisper) -> None:
    assert german.prompt() == (START, DE, TRANSLATE, NO_TIMESTAMPS)
    transcribing = whisper(whisper_dir, source="english", task="transcribe")
    assert transcribing.prompt() == (START, EN, TRANSCRIBE, NO_TIMESTAMPS)


def test_english_only_checkpoint_knows_neither(english_only: Path) -> None:
    model = whisper(english_only, source=None)
    assert model.prompt() == (START, NO_TIMESTAMPS)
    with pytest.raises(ModelError, match=r"^tiny-whisper\.en is an English-only Whisper and cannot translate; use a"):
        whisper(english_only, source=None, task="translate")
    with pytest.raises(ModelError, match=r"English-only Whisper; option 'source' must be en, not 'de'\.$"):
        whisper(english_only)


def test_unknown_language_lists_the_known_ones(whisper_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"does not know the source language 'xx'; it knows: de, en, ja\.$"):
        whisper(whisper_dir, source="xx")


@pytest.mark.parametrize(
    ("task", "source", "spaced"), [("translate", "ja", True), ("transcribe", "ja", False), ("transcribe", "de", True)]
)
def test_spaces_depend_on_the_target_language(whisper_dir: Path, task: str, source: str, spaced: bool) -> None:
    assert whisper(whisper_dir, task=task, source=source).vocabulary.spaced is spaced


@pytest.mark.parametrize(("samples", "frames"), [(16_000, 50), (16_319, 50), (16_320, 51), (1600, 5), (480_000, 1500)])
def test_valid_frames_come_from_the_samples(german: Whisper, noise: FloatArray, samples: int, frames: int) -> None:
    session = german.open()
    session.extend_source(np.resize(noise, samples))
    alignment = session.hypothesise((), Query(max_new=2, want=ALIGNMENT))[0].alignment
    assert alignment is not None and alignment.n_valid == frames == alignment.weights.shape[1]
    assert alignment.frame_s == 0.02


def test_the_whole_window_is_whispers_published_form(whisper_dir: Path, german: Whisper, noise: FloatArray) -> None:
    """With 30 s of padding the encoder gives what transformers' encoder gives for its own features."""
    import torch
    from transformers import WhisperFeatureExtractor

    model = whisper(whisper_dir, padding_s=30)
    found = model.encoder.encode(noise)
    features = WhisperFeatureExtractor(feature_size=80)(noise, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        expected = model.encoder.encoder(features).last_hidden_state  # type: ignore[attr-defined]
    torch.testing.assert_close(found.states, expected, atol=1e-5, rtol=1e-5)
    assert found.states.shape[1] == 1500 and german.encoder.encode(noise).states.shape[1] == 200 + 250
    assert found.n_valid == 200


def test_more_audio_than_the_window_forgets_the_oldest(german: Whisper, noise: FloatArray) -> None:
    session = german.open()
    session.extend_source(np.resize(noise, 500_001))
    assert session.heard_s == pytest.approx(500_001 / 16_000)
    assert 30 - 0.02 < session.heard_s - session.start_s <= 30
    assert session.start_s * 16_000 % 320 == 0


def test_the_language_is_guessed_again_until_enough_was_heard(whisper_dir: Path, noise: FloatArray) -> None:
    model = whisper(whisper_dir, source=None)
    session = model.open()
    session.extend_source(noise[:32_000])
    session.hypothesise((), Query(max_new=1))
    assert session._language is None
    session.extend_source(noise)
    prompt = session._prompt(model.encoder.encode(np.concatenate([noise[:32_000], noise])))
    assert session._language is not None and prompt[1] == model.languages[session._language]


def test_forgotten_text_becomes_context_when_asked_for(whisper_dir: Path, noise: FloatArray) -> None:
    for tokens, context in ((0, ()), (2, (PREVIOUS, 12, 13)), (9, (PREVIOUS, 11, 12, 13))):
        model = whisper(whisper_dir, context_tokens=tokens)
        session = model.open()
        session.extend_source(noise)
        session.hypothesise((11, 12, 13, 14), Query(max_new=1))
        session.drop_target(3)
        found = session.hypothesise((14,), Query(max_new=3, want=ALIGNMENT))[0]
        assert session._prompt(model.encoder.encode(noise)) == (*context, *model.prompt())
        assert found.alignment is not None and found.alignment.weights.shape[0] == 1 + len(found.ids)


def test_rows_of_the_marks_come_with_those_of_every_head(whisper_dir: Path, noise: FloatArray) -> None:
    model = whisper(whisper_dir)
    session = model.open()
    session.extend_source(noise)
    want = frozenset({Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS})
    found = [session.hypothesise(ids, Query(max_new=2, want=want))[0].alignment for ids in ((), (11, 12))]
    marks = [one.marks for one in found if one is not None and one.marks is not None and one.heads is not None]
    assert [one.shape for one in marks] == [(len(model.attention.heads), 3, found[0].n_valid)] * 2  # type: ignore[union-attr]
    np.testing.assert_allclose(marks[0], marks[1], atol=1e-5)  # what comes later changes nothing before it
    assert marks[0].sum(axis=-1).max() <= 1 + 1e-5
    plain = session.hypothesise((), Query(max_new=2, want=ALIGNMENT))[0].alignment
    assert plain is not None and plain.marks is None


def test_names_that_will_be_said_are_context(whisper_dir: Path, noise: FloatArray) -> None:
    model = whisper(whisper_dir, names="Kai, Vaswani", context_tokens=2)
    ids = model.names
    assert model.vocabulary.decode(ids) == " Kai, Vaswani"
    session, window = model.open(), model.encoder.encode(noise)
    assert session._prompt(window) == (PREVIOUS, *ids, *model.prompt())
    assert session._transcript_prompt(window) == (PREVIOUS, *ids, *model.prompt(task="transcribe"))
    session.extend_source(noise)
    session.hypothesise((11, 12, 13, 14), Query(max_new=1))
    session.drop_target(3)
    assert session._prompt(window) == (PREVIOUS, *ids, 12, 13, *model.prompt())
    found = session.hypothesise((14,), Query(max_new=3, want=ALIGNMENT))[0]
    assert found.alignment is not None and found.alignment.weights.shape[0] == 1 + len(found.ids)


def test_names_that_leave_no_room_are_refused(whisper_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"^Option 'names' of tiny-whisper has 62 tokens; at most 24 leave room\.$"):
        whisper(whisper_dir, names="x" * 61)


def test_blank_and_end_are_suppressed_at_the_very_beginning_only(german: Whisper, noise: FloatArray) -> None:
    session = german.open()
    assert session._suppress_first(()) == [SPACE, EOS]
    assert session._suppress_first((5,)) == ()
    session.extend_source(noise)
    drawn = session.hypothesise((), Query(max_new=3, n_best=64, sample=True))
    assert all(one.ids and one.ids[0] != SPACE for one in drawn)


def test_marks_and_suppressed_tokens_never_come(german: Whisper, noise: FloatArray) -> None:
    session = german.open()
    session.extend_source(noise)
    drawn = session.hypothesise((5,), Query(max_new=20, n_best=32, sample=True, seed=3))
    seen = {token for one in drawn for token in one.ids}
    assert len(seen) > 20 and max(seen) < EOS
    assert all(0x20 <= token < 0x7F or token >= 0x100 for token in seen)


def test_no_text_where_the_model_hears_no_speech(whisper_dir: Path, noise: FloatArray) -> None:
    always = whisper(whisper_dir, no_speech=0)
    never = whisper(whisper_dir, no_speech=1)
    for model, empty in ((always, True), (never, False)):
        session = model.open()
        session.extend_source(noise)
        # Sampling gives unlikely words, which is the second condition of the rule.
        found = session.hypothesise((), Query(max_new=4, n_best=8, sample=True, want=ALIGNMENT))
        unsure = [one for one in found if one.score < -1.0]
        assert unsure and all((one.ids == ()) is empty for one in unsure)
        assert all(one.stop == "eos" for one in found if not one.ids)
        assert session.hypothesise((5,), Query(max_new=4))[0].ids


def test_nothing_is_said_about_the_first_moments(whisper_dir: Path, noise: FloatArray) -> None:
    model = whisper(whisper_dir, min_source_s=2.0)
    session = model.open()
    session.extend_source(noise[:31_999])
    assert session.hypothesise((), Query(max_new=3))[0].ids == ()
    assert session.hypothesise((5,), Query(max_new=3))[0].ids
    session.extend_source(noise[:1])
    assert session.hypothesise((), Query(max_new=3))[0].ids
    ended = model.open()
    ended.extend_source(noise[:8000], is_final=True)
    assert ended.hypothesise((), Query(max_new=3))[0].ids


def test_transcript_uses_the_other_task(german: Whisper, whisper_dir: Path, noise: FloatArray) -> None:
    translating, transcribing = german.open(), whisper(whisper_dir, task="transcribe").open()
    for session in (translating, transcribing):
        session.extend_source(noise)
    assert translating.transcript() == transcribing.transcript() != ""
    direct = transcribing.hypothesise(())[0]
    assert transcribing.transcript() == german.vocabulary.decode(direct.ids).strip()


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("beams", 0, "Option 'beams' of tiny-whisper is 0; it must be between 1 and 64."),
        ("beams", "many", "Option 'beams' of tiny-whisper must be a whole number, not 'many'."),
        ("top_p", 0, "Option 'top_p' of tiny-whisper is 0.0; it must be above 0 and at most 1."),
        ("temperature", -1, "Option 'temperature' of tiny-whisper is -1.0; it must be above 0 and at most 10."),
        ("median_s", 9, "Option 'median_s' of tiny-whisper is 9.0; it must be between 0 and 5."),
        ("no_repeat_ngram", -1, "Option 'no_repeat_ngram' of tiny-whisper is -1; it must be at least 0."),
        ("padding_s", 0, "Option 'padding_s' of tiny-whisper is 0.0; it must be between 0.5 and 30."),
        ("context_tokens", 999, "Option 'context_tokens' of tiny-whisper is 999; it must be between 0 and 200."),
        ("min_source_s", 40, "Option 'min_source_s' of tiny-whisper is 40.0; it must be between 0 and 20."),
        ("task", "sing", "Option 'task' of tiny-whisper is 'sing'; it must be translate, transcribe or none."),
        ("heads_file", "absent.json", "The alignment heads absent.json cannot be read: "),
    ],
)
def test_bad_options_are_one_sentence(whisper_dir: Path, option: str, value: Any, sentence: str) -> None:
    with pytest.raises(ModelError) as caught:
        whisper(whisper_dir, **{option: value})
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_heads_come_from_option_file_or_checkpoint(whisper_dir: Path, tmp_path: Path, noise: FloatArray) -> None:
    assert whisper(whisper_dir).attention.heads == [(0, 1), (1, 0), (1, 3)]
    chosen = tmp_path / "heads.json"
    chosen.write_text('{"heads": [[1, 2]]}')
    assert whisper(whisper_dir, heads_file=str(chosen)).attention.heads == [(1, 2)]
    for content, sentence in (
        ('{"heads": []}', "The list of alignment heads is empty"),
        (
            '{"heads": [[2, 0]]}',
            "Alignment head [2, 0] does not exist: the decoder has layers 0 to 1 with heads 0 to 3.",
        ),
        ('{"heads": [7]}', "Alignment heads are pairs [layer, head], not 7."),
        ('{"best": []}', "The alignment heads "),
    ):
        chosen.write_text(content)
        with pytest.raises(ModelError) as caught:
            whisper(whisper_dir, heads_file=str(chosen))
        assert str(caught.value).startswith(sentence)
