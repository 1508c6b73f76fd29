"""Properties that hold for every policy on random scripted hypotheses."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulst.core.commit import Change
from simulst.core.events import EndEvent, Event, WriteEvent
from simulst.core.history import HistoryConfig
from simulst.core.session import Session
from simulst.core.translator import FloatArray
from simulst.policies import POLICIES, load_policy
from simulst.testing import Scripted, ScriptedTranslator, ToyVocabulary
from simulst.testing.scripted import ScriptedSession

PIECES = ["_a", "_b", "c", ",", ".", "_", "<0xC3>", "<0xA4>", "_Haus"]
VOCABULARY = ToyVocabulary(PIECES)
OWN_BEAMS = ("blockwise_beam",)
"""Policies that ask what follows hypotheses of their own, which begin with what was committed."""
CHUNK = np.zeros(6_400, dtype=np.float32)


def scripts(seed: int) -> list[Scripted]:
    """Random hypotheses with all evidence; made from a seed, because drawing each number apart takes long."""
    draw = random.Random(seed)

    def ids(most: int = 7) -> tuple[int, ...]:
        return VOCABULARY.encode(draw.choices(PIECES, k=draw.randint(0, most)))

    def line() -> Scripted:
        new = ids()
        return Scripted(
            ids=new,
            stop=draw.choice(["eos", "length"]),
            logprobs=tuple(draw.uniform(-1.5, 0) for _ in new),
            p_choose=tuple(draw.random() for _ in new),
            others=tuple(new[: draw.randint(0, 4)] + ids(2) for _ in range(draw.randint(1, 4))),
            frames=tuple(draw.choice([0, 1, 5, 9, 30]) for _ in new),
        )

    lines = [line() for _ in range(draw.randint(1, 8))]
    return [line for line in lines for _ in range(draw.choice([1, 1, 2]))]  # some policies wait for agreement


random_scripts = st.integers(0, 2**32 - 1).map(scripts)
fast = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def session_of(policy: str, script: Sequence[Scripted], padding: int = 0) -> Session:
    model = ScriptedTranslator(
        vocabulary=VOCABULARY, script=list(script), source_words=range(1, 99), max_source_s=2.0, padding=padding
    )
    return Session(model, load_policy(policy), chunk_ms=400)


def play_all(session: Session, chunks: int) -> list[Event]:
    events = [event for _ in range(chunks) for event in session.feed(CHUNK)]
    return events + session.finish()


Shape = tuple[str, int, float, float | None, float | None]


def shapes(events: Sequence[Event]) -> list[Shape]:
    """What does not depend on the clock."""
    source = [(getattr(event, "start_s", None), getattr(event, "end_s", None)) for event in events]
    return [(e.text, getattr(e, "retract", 0), e.audio_s, *times) for e, times in zip(events, source, strict=True)]


class Following(ScriptedTranslator):
    """Token i of the stream attends to frame i, whatever has been forgotten before it."""

    def open(self) -> "FollowingSession":
        return FollowingSession(self)


class FollowingSession(ScriptedSession):
    def _rows(self, line: Scripted, history: int) -> FloatArray:
        first = sum(self.dropped_targets) - round(self.start_s / self.model.frame_s)
        attended = first + np.arange(history + len(line.ids))
        columns = np.arange(round((self.heard_s - self.start_s) / self.model.frame_s))
        rows: FloatArray = (columns == np.clip(attended, 0, max(0, len(columns) - 1))[:, None]).astype(np.float32)
        return rows


@pytest.mark.parametrize("policy", POLICIES)
class TestInvariants:
    @pytest.mark.slow
    @fast
    @given(script=random_scripts)
    def test_text_only_grows_and_nothing_empty_leaves(self, policy: str, script: list[Scripted]) -> None:
        session = session_of(policy, script)
        shown = ""
        for event in play_all(session, len(script)):
            if isinstance(event, WriteEvent):
                assert event.text or event.retract
                assert not event.text or event.text.strip()
                assert event.retract == 0 or session.revises
                assert "\ufffd" not in event.text
                shown = shown[: len(shown) - event.retract] + event.text
        assert isinstance(event, EndEvent)
        assert shown == event.text == session.text
        assert session.stats.steps == len(script) + 1

    @pytest.mark.slow
    @fast
    @given(script=random_scripts)
    def test_prefix_is_what_was_committed_and_not_forgotten(self, policy: str, script: list[Scripted]) -> None:
        session = session_of(policy, script)
        committed: list[int] = []
        apply = session._log.apply

        def recorded(ids: Sequence[int], *, retract: int = 0, **rest: Any) -> Change:
            committed[len(committed) - retract :] = ids
            return apply(ids, retract=retract, **rest)

        session._log.apply = recorded  # type: ignore[method-assign]
        forced, said = list[tuple[int, ...]](), session._translator._next  # type: ignore[attr-defined]

        def heard(prefix: Sequence[int]) -> Scripted:
            forced.append(session._decoder.prefix)
            line: Scripted = said(prefix)
            return line

        session._translator._next = heard  # type: ignore[attr-defined]
        for _ in script:
            asked, held = len(session._translator.prefixes), list(committed)  # type: ignore[attr-defined]
            session.feed(CHUNK)
            for prefix in session._translator.prefixes[asked : asked + 1]:  # type: ignore[attr-defined]
                begins = forced[asked] if policy in OWN_BEAMS else prefix
                assert prefix[: len(begins)] == begins
                assert list(begins) == held[len(held) - len(begins) :]
            assert tuple(committed[session._log.dropped :]) == session.prefix
        dropped = sum(session._translator.dropped_targets)  # type: ignore[attr-defined]
        assert dropped == session._log.dropped

    @pytest.mark.slow
    @fast
    @given(script=random_scripts)
    def test_rows_and_ids_stay_together_when_text_is_forgotten(self, policy: str, script: list[Scripted]) -> None:
        model = Following(vocabulary=VOCABULARY, script=script, source_words=range(1, 99), max_source_s=2.0)
        session = Session(
            model, load_policy(policy), chunk_ms=400, history=HistoryConfig(method="fixed_words", words=2)
        )
        if session.revises:
            pytest.skip("its hypotheses begin with the window, not with what is kept")
        for _ in range(3 * len(script)):
            session.feed(CHUNK)
            for number, token in enumerate(session._log.kept, session._log.dropped):
                expected = number * model.frame_s
                if token.anchor_s is not None and expected > session._translator.start_s:
                    assert token.anchor_s == pytest.approx(expected)

    @pytest.mark.slow
    @fast
    @given(script=random_scripts)
    def test_same_audio_same_decisions(self, policy: str, script: list[Scripted]) -> None:
        first = shapes(play_all(session_of(policy, script), len(script)))
        assert shapes(play_all(session_of(policy, script), len(script))) == first

    @pytest.mark.slow
    @fast
    @given(script=random_scripts)
    def test_finish_says_once_what_the_model_says_given_everything(self, policy: str, script: list[Scripted]) -> None:
        session = session_of(policy, script)
        for _ in script[:-1]:
            session.feed(CHUNK)
        before, calls = session.text, len(session._translator.prefixes)  # type: ignore[attr-defined]
        session.model.script = [script[-1]] * (calls + 9)  # type: ignore[attr-defined]
        session.finish()
        if not session.revises:
            last = VOCABULARY.decode(script[-1].ids).replace("\ufffd", "").split()
            assert session.text.startswith(before)
            said = "".join(session.text.split())
            assert said.endswith("".join(last)) or "ä" in said  # a character may begin in what was committed
        assert session.finish() == []

    @pytest.mark.slow
    @fast
    @given(script=random_scripts)
    def test_reset_makes_a_fresh_session(self, policy: str, script: list[Scripted]) -> None:
        used = session_of(policy, script)
        first = shapes(play_all(used, len(script)))
        used.reset()
        assert shapes(play_all(used, len(script))) == first

    @pytest.mark.slow
    @fast
    @given(script=random_scripts)
    def test_padding_changes_nothing(self, policy: str, script: list[Scripted]) -> None:
        plain = shapes(play_all(session_of(policy, script), len(script)))
        assert shapes(play_all(session_of(policy, script, padding=7), len(script))) == plain
