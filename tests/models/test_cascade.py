from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulst import Session, load_model, load_policy
from simulst.core.beside import feed_all, finish_all
from simulst.core.events import Event, WriteEvent
from simulst.core.languages import Pair
from simulst.core.translator import Alignment, Draw, Evidence, Hypothesis, Query, TokenStep
from simulst.errors import ModelError, PolicyError
from simulst.models import describe_model, option_names
from simulst.models.cascade import Cascade, HeardWord
from simulst.models.halves import Options
from simulst.models.text.causal_lm import CausalLM
from simulst.models.text.source_model import TextSide
from simulst.models.text.translator import TextModel
from simulst.models.word_clock import WordClock
from simulst.testing import ToyTranslator, toy_audio
from simulst.testing.checkpoints import tiny_whisper
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.testing.text_checkpoints import tiny_causal
from simulst.testing.toy import VOCABULARY as TOY
from simulst.testing.toy import toy_text

WORDS = [5, 17, 0, 31, 2, 41, 8, 0, 0, 23, 44, 7]


@pytest.fixture
def cascade() -> Cascade:
    """Both sides are toys: the recogniser says w5 or v4, the text side repeats it."""
    return Cascade(ToyTranslator(), ToyTranslator(), name="toy+toy", options=Options())


@pytest.mark.parametrize("policy", ["offline", "wait_k-adaptive", "local_agreement", "taf"])
def test_policies_translate_what_the_recogniser_committed(cascade: Cascade, policy: str) -> None:
    session = Session(cascade, load_policy(policy), chunk_ms=320)
    for piece in np.array_split(toy_audio(WORDS), 17):
        session.feed(piece)
    session.finish()
    assert session.text == toy_text(WORDS)


def test_words_come_with_the_time_of_their_audio(cascade: Cascade) -> None:
    session = cascade.open()
    seen = []
    for piece in np.array_split(toy_audio(WORDS), 12):
        session.extend_source(piece)
        seen.append(session.source_words())
    session.extend_source(np.zeros(0, dtype=np.float32), is_final=True)
    seen.append(session.source_words())
    assert seen == sorted(seen) and seen[-1] == 9 and seen[4] >= 2
    assert session.transcript() == "w5 w17 w31 v2 w41 v8 w23 v44 w7"
    said = [i for i, word in enumerate(WORDS) if word]
    for heard, slot in zip(session._words, said, strict=True):
        assert slot * 0.32 - 0.32 <= heard.end_s <= slot * 0.32 + 0.64
    session.drop_source(session._words[3].end_s + 0.001)
    assert session.transcript() == "w41 v8 w23 v44 w7" and session.source_words() == 9
    assert session.start_s == pytest.approx(session._words[0].end_s, abs=1.0)


def test_pieces_without_a_space_belong_to_the_last_word(cascade: Cascade) -> None:
    session = cascade.open()
    for text, end_s in (("w5", 1.0), (" w17 v", 3.0), ("4", 3.5), (".", 4.0), (" w7", 3.0)):
        session._heard_s = 5.0
        session._append(text, end_s)
    words = [("w5", 1.0), ("w17", 2.0), ("v4.", 4.0), ("w7", 4.0)]
    assert session._words == tuple(HeardWord(text=text, end_s=end_s) for text, end_s in words)


def test_what_it_cannot_give_is_refused(cascade: Cascade) -> None:
    assert Evidence.ALIGNMENT not in cascade.provides
    with pytest.raises(PolicyError, match=r"which model toy\+toy does not provide"):
        Session(cascade, load_policy("stream_att"))
    with pytest.raises(ModelError, match=r"^Policy 'retranslation' takes words back; a recogniser must commit them\.$"):
        Cascade(ToyTranslator(), ToyTranslator(), name="x", options=Options(recogniser_policy="retranslation"))
    with pytest.raises(ModelError, match="'recogniser_chunk_ms' is 1; it must be at least 20"):
        Options(recogniser_chunk_ms=1)


def test_two_directories_make_a_cascade(tmp_path: Path) -> None:
    first, second = tiny_whisper(tmp_path / "asr", brevity=5.0), make_tiny_speech_llm(tmp_path / "text")
    model = load_model(f"{first}+{second}", recogniser_chunk_ms="1000")
    assert isinstance(model, Cascade) and model.recogniser.task == "transcribe"  # type: ignore[attr-defined]
    noise = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
    session = Session(model, load_policy("offline"))
    session.feed(noise)
    assert session.finish()[-1].text == session.text
    with pytest.raises(ModelError, match=r"cannot translate text; use one that provides source_lm"):
        load_model(f"{first}+{first}")
    with pytest.raises(ModelError, match=r"^Unknown model 'nope'"):
        load_model(f"{first}+nope")


def test_a_words_attention_stands_where_it_ends_and_silence_moves_the_border() -> None:
    clock = WordClock(ends_s=[1.0, 1.5, 1.503, 2.0], start_s=0.5, heard_s=1.9)
    assert clock.frames.tolist() == [24, 49, 50, 74] and clock.n_valid == 76
    rows = clock.rows(np.array([[0.1, 0.2, 0.3, 0.4]], dtype=np.float32))
    assert rows.shape == (1, 76) and rows[0, [24, 49, 50, 74]] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rows.sum() == pytest.approx(1.0)
    assert WordClock(ends_s=[2.0], start_s=0.5, heard_s=4.0).n_valid == 175
    assert WordClock(ends_s=[], start_s=0.5, heard_s=0.0).n_valid == 0


class Monotone(TextSide):
    """Says `w1 w2 ...` for source words, each looking at its own."""

    evidence = frozenset({Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS})

    def __init__(self, session: Any) -> None:
        self.toy = session

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        return []

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        found: list[Hypothesis] = self.toy.translate_text(texts, prefix, max_new=max_new)
        return found

    def search_text(self, text: str, prefix: Sequence[int], query: Query, *, max_new: int) -> list[Hypothesis]:
        count = len(text.split())
        rest = self.toy.translate_text([text], prefix, max_new=999)[0].ids
        later, owners = 0, list[int]()
        for token in reversed((*prefix, *rest)):
            owners.insert(0, max(0, count - 1 - later))
            later += TOY.starts_word(token)
        weights = np.eye(count, dtype=np.float32)[owners]
        ids = list[int]()
        for i, token in enumerate(rest):
            step = TokenStep(index=i, token=token, logprob=0.0, weights=weights[len(prefix) + i], n_valid=count)
            if query.gate is not None and query.gate(step) != "continue":
                return [self._found(ids, prefix, weights, count, "gate", token)]
            ids.append(token)
        return [self._found(ids, prefix, weights, count, "eos", None)]

    def _found(self, ids: list[int], prefix: Sequence[int], weights: Any, count: int, stop: Any, next_id: Any) -> Any:
        kept = weights[: len(prefix) + len(ids)]
        alignment = Alignment(weights=kept, history=len(prefix), n_valid=count, frame_s=1.0, start_s=0.0)
        return Hypothesis(ids=tuple(ids), stop=stop, next_id=next_id, alignment=alignment)


class MonotoneText(TextModel):
    def __init__(self) -> None:
        super().__init__(name="monotone", vocabulary=TOY, evidence=Monotone.evidence)

    def text_side(self) -> Monotone:
        return Monotone(ToyTranslator().open())


def test_align_att_holds_back_what_looks_at_the_last_words() -> None:
    model = Cascade(ToyTranslator(), MonotoneText(), name="toy+monotone", options=Options())
    assert Evidence.ALIGNMENT in model.provides
    behind = {}
    for policy, settings in {"narrow": {"border_ms": 100}, "wide": {"border_ms": 1500}}.items():
        session = Session(model, load_policy("align_att", **settings), chunk_ms=320)
        written, heard = list[int](), list[int]()
        for piece in np.array_split(toy_audio(WORDS), 12):
            session.feed(piece)
            written.append(len(session.text.split()))
            heard.append(session._translator.source_words())
        assert all(w < h for w, h in zip(written, heard, strict=True) if h), "the last word may not be looked at"
        behind[policy] = sum(heard) - sum(written)
        session.finish()
        assert session.text == toy_text(WORDS)
    assert behind["narrow"] < behind["wide"]


def test_after_a_pause_the_last_word_is_translated_too() -> None:
    model = Cascade(ToyTranslator(), MonotoneText(), name="x", options=Options(recogniser_lag_s=1.0))
    session = Session(model, load_policy("align_att"), chunk_ms=320)
    session.feed(toy_audio([5, 17, 9, 0, 0, 0, 0, 0, 0, 0]))
    assert session.text == toy_text([5, 17, 9])


def test_stream_att_forgets_words_that_nobody_looks_at() -> None:
    model = Cascade(ToyTranslator(), MonotoneText(), name="x", options=Options())
    session = Session(
        model, load_policy("stream_att", **{"history.method": "fixed_words", "history.words": 4}), chunk_ms=320
    )
    words = np.random.default_rng(3).choice([word for word in WORDS if word], 90).tolist()
    most = 0
    for piece in np.array_split(toy_audio(words), 45):
        session.feed(piece)
        most = max(most, len(session._translator.words))  # type: ignore[attr-defined]
    session.finish()
    assert session.text == toy_text(words) and most < 30


def test_options_of_the_halves(tmp_path: Path) -> None:
    first, second = tiny_whisper(tmp_path / "asr", brevity=5.0), tiny_causal(tmp_path / "lm")
    name = f"{first}+{second}"
    model = load_model(name, **{"text.target": "fr", "recogniser.beams": "2", "recogniser_chunk_ms": "1000"})
    assert isinstance(model, Cascade) and model.recogniser.options.beams == 2  # type: ignore[attr-defined]
    assert model.text.options.target == "fr" and model.options.recogniser_chunk_ms == 1000  # type: ignore[attr-defined]
    assert model.recogniser.task == "transcribe"  # type: ignore[attr-defined]
    assert {"text.target", "recogniser.task", "recogniser_policy"} <= option_names(name)
    assert {Evidence.ALIGNMENT, Evidence.LOGPROBS} <= describe_model(name).provides
    for wrong, sentence in {
        "text.colour": "unknown option 'colour'; known: source, target",
        "recogniser.beams": "[Oo]ption 'beams' of recogniser |recogniser .*beams",
        "beams": "unknown option 'beams'; known: recogniser_policy",
    }.items():
        with pytest.raises(ModelError, match=sentence):
            load_model(name, **{wrong: "x"})
    session = Session(model, load_policy("stream_att"))
    session.feed(np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32))
    assert session.finish()[-1].text == session.text


def written(events: Sequence[Event]) -> list[WriteEvent]:
    """Without what depends on the clock."""
    return [replace(event, wall_s=0.0, compute_s=0.0) for event in events if isinstance(event, WriteEvent)]


def test_several_targets_have_one_recogniser() -> None:
    """Every text side says what it says alone, and the recogniser is asked as often as for one."""
    asked: list[int] = []
    recogniser = ToyTranslator(before=lambda: asked.append(1))
    cascade = Cascade(recogniser, ToyTranslator(), name="toy+toy", options=Options())
    pair = Pair(source="en", target="de")
    sessions = [Session(one, load_policy("wait_k"), chunk_ms=320) for one in cascade.side_by_side([pair, pair, pair])]
    for again in (False, True):
        said: list[list[WriteEvent]] = [[] for _ in sessions]
        for piece in np.array_split(toy_audio(WORDS), 17):
            for own, events in zip(said, feed_all(sessions, piece), strict=True):
                own += written(events)
        finish_all(sessions)
        assert [session.text for session in sessions] == [toy_text(WORDS)] * 3
        together = len(asked)
        asked.clear()
        alone = Session(cascade, load_policy("wait_k"), chunk_ms=320)
        assert said == [written(alone.feed(toy_audio(WORDS)))] * 3
        alone.finish()
        assert together == len(asked) > 3, again
        asked.clear()
        for session in sessions:
            session.reset()
    sessions[0].feed(toy_audio(WORDS))
    with pytest.raises(ModelError, match=r"^Several targets of one stream have to hear it in step\.$"):
        sessions[1].feed(toy_audio(WORDS))


PHRASES = [[5, 17, 31, 2, 41, 8, 23], [44, 7, 19, 33, 11, 9, 27], [51, 53, 37, 29, 13, 43, 21]]
TALK = [word for phrase in PHRASES for word in [*phrase, 0, 0]]


@pytest.mark.parametrize("targets", [1, 2])
def test_segments_are_heard_one_after_the_other(cascade: Cascade, targets: int) -> None:
    """Pauses of 0.64 s, and a recogniser that hears all but the newest 0.64 s."""
    cascade = Cascade(ToyTranslator(look_ahead_s=0.64), ToyTranslator(), name="toy+toy", options=Options())
    models: list[Any] = cascade.side_by_side([Pair(source="en", target="de")] * 2) if targets == 2 else [cascade]
    settings = load_policy("offline", **{"history.segment_s": 2.0, "history.pause_s": 0.64})  # the next slot's begin
    sessions = [Session(model, settings, chunk_ms=640, keep_transcript=True) for model in models]
    said: list[list[WriteEvent]] = [[] for _ in sessions]
    for slot in [*np.split(toy_audio(TALK), len(TALK)), None]:
        for events, session in zip(said, sessions, strict=True):
            found = session.finish() if slot is None else session.feed(slot)
            events += [event for event in found if isinstance(event, WriteEvent)]
    for events, session in zip(said, sessions, strict=True):
        assert session.text == toy_text(TALK)
        assert [event.text.strip() for event in events] == [toy_text(phrase) for phrase in PHRASES]
        assert [event.audio_s for event in events[:2]] == [3.2, 6.4]  # of chunks of 0.64 s
        assert session.transcript() == toy_text(TALK)


def test_words_of_the_next_segment_stand_where_the_stream_has_them(cascade: Cascade) -> None:
    session = cascade.open()
    session.extend_source(toy_audio([5, 17, 31, 0]), is_final=True)
    session.segments.restart()
    assert (session.start_s, session.transcript(), session.source_words()) == (1.28, "", 3)
    session.extend_source(toy_audio([2, 41, 0, 0, 0, 0]), is_final=True)
    assert [word.text for word in session._words] == ["v2", "w41"] and session.source_words() == 5
    assert all(1.28 < word.end_s <= session.heard_s for word in session._words)


def test_a_language_model_is_asked_for_another_language(tmp_path: Path) -> None:
    model = load_model(f"{tiny_whisper(tmp_path / 'asr', brevity=5.0)}+{tiny_causal(tmp_path / 'text')}")
    assert isinstance(model, Cascade)
    assert [str(pair) for pair in model.pairs[:2]] == ["en to de", "en to ar"] and len(model.pairs) > 30
    french, japanese = (model.for_pair(Pair(source="en", target=target)) for target in ("fr", "ja"))
    assert isinstance(french.text, CausalLM) and isinstance(japanese.text, CausalLM)
    assert "French" in french.text.prompts.render("cat") and "German" not in french.text.prompts.render("cat")
    assert french.vocabulary.spaced and not japanese.vocabulary.spaced and model.vocabulary.spaced
    assert french.recogniser is model.recogniser


def kept(said: list[tuple[str, float]], to_s: float) -> str:
    """What stays of these words, each with its end, where audio before `to_s` is forgotten."""
    session = Cascade(ToyTranslator(), ToyTranslator(), name="x", options=Options()).open()
    session._words = tuple(HeardWord(text=text, end_s=end_s) for text, end_s in said)
    session.drop_source(to_s)
    return " ".join(session.words)


def test_the_last_words_of_a_sentence_go_with_it() -> None:
    """They would stand there as a sentence of their own, and the one behind them would be translated twice."""
    said = [("see", 5.9), ("you", 6.1), ("today.", 6.8), ("I", 7.2), ("want", 7.5), ("to.", 9.0), ("He", 9.4)]
    assert kept(said, 6.7) == "I want to. He"
    assert kept(said, 6.0) == "you today. I want to. He", "the sentence ends too late for its words to be a rest"
    assert kept(said, 6.4) == "I want to. He" and kept(said, 7.3) == "want to. He"
    assert kept([("see", 5.9), ("today.", 6.8)], 6.7) == "today.", "nothing follows it yet"
    assert kept([("Dr.", 6.8), ("Smith", 7.2)], 6.7) == "Dr. Smith" and kept(said, 0.0) == " ".join(w for w, _ in said)
