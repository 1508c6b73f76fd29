import json
from collections.abc import Iterator

import numpy as np
import pytest

from simulst.agents.text import TextSession
from simulst.bench.null import NullTranslator
from simulst.core.events import EndEvent, HypothesisEvent, WriteEvent
from simulst.core.loaded import as_loaded
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.session import Session
from simulst.core.translator import Evidence, FloatArray, ReadWrite
from simulst.errors import AudioError, EvidenceError, ModelError, PolicyError
from simulst.models.text.translator import TextTranslator
from simulst.policies import load_policy
from simulst.policies.align_att import AlignAtt
from simulst.policies.wait_k import WaitK
from simulst.testing import Scripted, ScriptedTranslator, ToyTranslator, ToyVocabulary, play, toy_audio, toy_text

WORDS = ToyVocabulary(["_a", "_b", "_c"])
TALK = [5, 0, 17, 30, 0, 2, 41, 8, 0, 60, 11, 23, 40, 7]


def silence(seconds: float) -> FloatArray:
    return np.zeros(int(seconds * 16_000), dtype=np.float32)


def ticking(step: float) -> Iterator[float]:
    now = 100.0
    while True:
        yield now
        now += step


def test_events_say_what_the_contract_names() -> None:
    ticks = ticking(0.25)
    session = Session(ToyTranslator(), load_policy("stream_att"), clock=lambda: next(ticks))
    events = session.feed(toy_audio(TALK)) + session.finish()
    lines = [json.loads(json.dumps(event.to_json())) for event in events]
    assert {"type", "text", "retract", "audio_s", "wall_s"} <= lines[0].keys()
    assert lines[0]["type"] == "write"
    assert {"type", "text", "audio_s", "rtf"} <= lines[-1].keys()
    assert (lines[-1]["type"], lines[-1]["text"]) == ("end", toy_text(TALK))
    assert lines[-1]["audio_s"] == 4.48
    assert [line["audio_s"] for line in lines] == sorted(line["audio_s"] for line in lines)
    assert lines[-1]["rtf"] == pytest.approx(session.stats.compute_s / 4.48, abs=1e-6)


def test_time_of_the_caller_is_no_computing() -> None:
    now = [0.0]
    session = Session(ToyTranslator(), load_policy("stream_att"), clock=lambda: now[0])
    for piece in np.split(toy_audio(TALK), 7):
        session.feed(piece)
        now[0] += 10.0
    end = session.finish()[-1]
    assert isinstance(end, EndEvent)
    assert (end.rtf, end.wall_s) == (0.0, 70.0)


def test_source_times_of_a_write_are_those_of_its_words() -> None:
    session = Session(ToyTranslator(), AlignAtt(f=1), chunk_ms=640)
    first = session.feed(toy_audio([5, 17, 30, 41]))[0]
    assert isinstance(first, WriteEvent)
    assert first.text == "w5"
    assert first.start_s == pytest.approx(0.24)
    assert first.end_s == pytest.approx(0.32)
    assert session.lag == pytest.approx(0.32, abs=0.2)


def test_decisions_do_not_depend_on_how_samples_are_cut() -> None:
    audio = toy_audio(TALK)
    whole = Session(ToyTranslator(), load_policy("stream_att"))
    wanted = [(e.text, e.audio_s) for e in whole.feed(audio) + whole.finish()]
    for size in (37, 160, 4_000):
        session = Session(ToyTranslator(), load_policy("stream_att"))
        events = [e for at in range(0, len(audio), size) for e in session.feed(audio[at : at + size])]
        events += session.finish()
        assert [(e.text, e.audio_s) for e in events] == wanted


def test_catching_up_hears_everything_and_decides_once() -> None:
    session = Session(ToyTranslator(), load_policy("stream_att"))
    session.feed(toy_audio(TALK), catch_up=True)
    assert session.stats.steps == 1
    session.finish()
    assert session.text == toy_text(TALK)


def test_unstable_remainder_is_shown_and_cleared() -> None:
    session = Session(ToyTranslator(), AlignAtt(f=2), hypotheses=True)
    events = session.feed(toy_audio([5, 17, 30, 41])) + session.finish()
    grey = [event.text for event in events if isinstance(event, HypothesisEvent)]
    assert grey[0] == " w17"
    assert grey[-1] == ""
    assert HypothesisEvent(text="x", audio_s=1.0, wall_s=2.0).to_json()["type"] == "hypothesis"


def test_finish_twice_and_feeding_after_the_end() -> None:
    session = Session(ToyTranslator(), load_policy("offline"))
    session.feed(toy_audio(TALK))
    assert len(session.finish()) == 2
    assert session.finish() == []
    with pytest.raises(AudioError, match="The stream has ended: call reset"):
        session.feed(silence(1))


def test_forced_prefix_is_what_was_committed_and_not_forgotten() -> None:
    script = [Scripted(ids=WORDS.encode(["_a", "_b"])), Scripted(ids=WORDS.encode(["_c"]))]
    session, _ = play(WaitK(k=1, word_ms=200, strict=False), script, WORDS)
    assert session._translator.prefixes == [(), WORDS.encode(["_a", "_b"])]  # type: ignore[attr-defined]


def test_caps_of_new_tokens_follow_kept_audio_and_prefix() -> None:
    endless = Scripted(ids=WORDS.encode(["_a"]) * 500, stop="length")
    session, shown = play(WaitK(k=1, word_ms=1, strict=False), [endless] * 3, WORDS)
    assert [len(text.split()) for text in shown] == [21, 23, 25]  # 22, 24, 26 tokens, the last may be half a word
    assert session.stats.tokens == 25


class Greedy(Policy):
    requires = frozenset({Evidence.LOGPROBS})

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: object) -> Decision:
        hypothesis = decoder.hypothesise()[0]
        return Decision(commit=len(hypothesis.ids) + 1, hypothesis=hypothesis)


def test_impossible_decision_is_refused_and_nothing_is_committed() -> None:
    model = ScriptedTranslator(vocabulary=WORDS, script=[Scripted(ids=WORDS.encode(["_a"]))])
    session = Session(model, Greedy(), chunk_ms=400)
    with pytest.raises(PolicyError, match="Policy Greedy decided to commit 2 of 1 tokens and to retract 0 of 0"):
        session.feed(silence(0.4))
    assert session.text == ""


class TakesBack(Policy):
    requires = frozenset({Evidence.PREFIX})

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return Decision(commit=1, retract=int(view.step > 0), hypothesis=decoder.hypothesise()[0])


class Revising(TakesBack):
    revises = True


def test_a_policy_says_in_its_class_that_it_takes_text_back() -> None:
    script = [Scripted(ids=WORDS.encode([name])) for name in ("_a", "_b")]
    _, shown = play(Revising(), script, WORDS)
    assert shown == ["a", "b"]
    with pytest.raises(PolicyError, match="Policy TakesBack takes text back; its class must say so with revises = Tr"):
        play(TakesBack(), script, WORDS)
    with pytest.raises(PolicyError, match=r"^Policy Revising takes text back, which SimulEval cannot\.$"):
        TextSession(TextTranslator(ToyTranslator()), as_loaded(Revising()))


class Asks(Policy):
    """For what it did not say it needs."""

    requires = frozenset({Evidence.PREFIX})

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        if view.step:
            return Decision(hypothesis=decoder.read_write(ReadWrite()))
        return Decision(hypothesis=decoder.text.translate_text(["s1"], (), max_new=3)[0])


def test_what_a_model_cannot_do_is_a_sentence_where_a_policy_asks_for_it() -> None:
    model = NullTranslator("null", 0)
    session = Session(model, Asks(), chunk_ms=400)
    for evidence in ("source_lm", "session_tokens"):
        with pytest.raises(EvidenceError, match=rf"^Model null has no {evidence}, which the policy asks for; a policy"):
            session.feed(silence(0.4))
        session.stats.steps += 1
    with pytest.raises(ModelError, match=r"^Model null cannot translate text; use one that provides source_lm"):
        TextTranslator(model)


def test_missing_evidence_is_named_before_anything_runs() -> None:
    model = ScriptedTranslator(vocabulary=WORDS, provides=frozenset({Evidence.PREFIX}), name="mini")
    with pytest.raises(PolicyError, match="Policy align_att needs alignment, which model mini does not provide; `sim"):
        Session(model, load_policy("align_att"))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (Scripted(ids=(1,), weights=np.ones((3, 9), dtype=np.float32), history=0), "alignment has shape"),
        (Scripted(ids=(1,), weights=np.ones((6, 9), dtype=np.float32), history=5), "covers 5 prefix tokens, 0 were"),
        (Scripted(ids=(1,), weights=np.ones((1, 9), dtype=np.float32), n_valid=10), "10 valid frames of 9"),
        (Scripted(ids=(1,), logprobs=(-0.1, -0.2, -0.3)), "log-probabilities for 1 new tokens"),
        (Scripted(ids=(1, 0)), "end-of-sequence or negative ids stand among the new ones"),
    ],
)
def test_evidence_that_contradicts_itself_is_an_error_and_nothing_is_committed(line: Scripted, sentence: str) -> None:
    model = ScriptedTranslator(vocabulary=WORDS, script=[line])
    session = Session(model, AlignAtt(f=0, normalise="zscore"), chunk_ms=400)
    with pytest.raises(EvidenceError, match=sentence):
        session.feed(silence(0.4))
    assert (session.text, session.drain()) == ("", [])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_evidence_that_is_not_finite_is_read_over(bad: float) -> None:
    weights = np.full((1, 10), bad, dtype=np.float32)
    lines = [Scripted(ids=(1,), weights=weights), Scripted(ids=(1,), logprobs=(bad,)), Scripted(ids=(1,))]
    session, shown = play(AlignAtt(f=0), lines, WORDS)
    assert shown == ["", "", "a"]
    assert session.stats.not_finite == 2


def test_events_before_an_error_are_not_lost() -> None:
    lines = [Scripted(ids=(1,)), Scripted(ids=(0,))]
    model = ScriptedTranslator(vocabulary=WORDS, script=lines)
    session = Session(model, AlignAtt(f=0), chunk_ms=400)
    with pytest.raises(EvidenceError):
        session.feed(silence(0.8))
    assert [event.to_json()["text"] for event in session.drain()] == ["a"]


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (np.zeros((2, 5), dtype=np.float32), r"not shape \(2, 5\) of float32; mix to mono"),
        (np.zeros(5, dtype=np.int16), "not int16; scale them first"),
        (np.array([0.0, np.nan], dtype=np.float32), "NaN or infinite"),
        (np.array(["a"]), "16 kHz samples in one dimension"),
    ],
)
def test_samples_that_cannot_be_are_refused(samples: object, sentence: str) -> None:
    with pytest.raises(AudioError, match=sentence):
        Session(ToyTranslator(), load_policy("offline")).feed(samples)  # type: ignore[arg-type]


def test_chunk_must_fit_the_model() -> None:
    with pytest.raises(PolicyError, match=r"A chunk of 13000 ms does not fit into the 12 s of audio that toy may keep"):
        Session(ToyTranslator(), load_policy("offline"), chunk_ms=13_000)


def test_source_cap_forces_a_policy_that_only_reads() -> None:
    words = [1 + 7 * i % 60 for i in range(120)]
    session = Session(ToyTranslator(), load_policy("offline"))
    kept = []
    for piece in np.split(toy_audio(words), 120):
        session.feed(piece)
        kept.append(session._translator.heard_s - session._translator.start_s)
    session.finish()
    assert session.stats.forced >= 3
    assert max(kept) <= 12.0
    assert session.text == toy_text(words)


def test_long_silence_is_forgotten_and_says_nothing() -> None:
    session = Session(ToyTranslator(), load_policy("stream_att"))
    session.feed(silence(96))
    session.feed(toy_audio([5, 17]))
    session.finish()
    assert session.text == "w5 w17"
    assert session.stats.forced <= 12


def test_transcript_of_the_whole_stream() -> None:
    words = [1 + 7 * i % 60 for i in range(60)]
    session = Session(ToyTranslator(), load_policy("stream_att"), keep_transcript=True)
    session.feed(toy_audio(words))
    session.finish()
    assert session.transcript() == " ".join(f"s{word}" for word in words)


def test_half_a_character_of_the_transcript_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(ToyTranslator(), load_policy("stream_att"))
    monkeypatch.setattr(session._translator, "transcript", lambda: "more an\ufffd one")
    assert session.transcript() == "more an one"


def test_user_settings_go_over_those_of_the_preset() -> None:
    session = Session(ToyTranslator(), load_policy("stream_att-f4", f=2), chunk_ms=320, history="fixed_words")
    assert (session.chunk_ms, session.policy.f) == (320, 2)  # type: ignore[attr-defined]


def test_source_times_follow_the_policy_s_reading_of_the_rows() -> None:
    weights = np.full((2, 10), 0.001, dtype=np.float32)
    weights[:, 0] = 0.9  # a sink that every token attends to
    weights[0, 3], weights[1, 5] = 0.1, 0.1
    line = Scripted(ids=WORDS.encode(["_a", "_b"]), weights=weights)
    raw, _ = play(AlignAtt(f=2), [line], WORDS)
    normalised, _ = play(AlignAtt(f=2, normalise="zscore"), [line], WORDS)
    assert [token.anchor_s for token in raw._log.kept] == [0.0, 0.0]
    assert [token.anchor_s for token in normalised._log.kept] == pytest.approx([0.12, 0.2])


def test_arguments_of_a_session_are_checked_at_once() -> None:
    model = ToyTranslator()
    with pytest.raises(ModelError, match=r"takes a loaded model, not 'tiny-en-de'; load_model makes one"):
        Session("tiny-en-de", load_policy("offline"))  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r"takes a loaded policy, not 'offline'; load_policy makes one of a name"):
        Session(model, "offline")  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r"chunk_ms is '640'; it must be a number of milliseconds"):
        Session(model, load_policy("offline"), chunk_ms="640")  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r"history is 5; it must be a HistoryConfig, a selector or a method's name"):
        Session(model, load_policy("offline"), history=5)  # type: ignore[arg-type]
    integers = (toy_audio([3, 14]) * 32_768).astype(np.int16).astype(np.float32)
    with pytest.raises(AudioError, match=r"^The samples reach \d+, but full scale is 1: they are integers;"):
        Session(model, load_policy("offline")).feed(integers)
    for name, key, value in (("edatt", "frame_ms", float("inf")), ("ralcp", "candidates", 1_000_000)):
        with pytest.raises(PolicyError, match=f"{name}: {key} is "):
            load_policy(name, **{key: value})
