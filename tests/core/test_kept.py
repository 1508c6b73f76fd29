"""What a session still holds after minutes of audio: its text, and nothing else that grows."""

import gc
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

from simulst.core.session import Session
from simulst.core.translator import FloatArray, Translator
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio

SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType)


def reach(roots: list[Any], known: set[int]) -> list[Any]:
    """Objects that the roots lead to and `known` does not have; it gets them."""
    found, waiting = list[Any](), roots
    while waiting:
        one = waiting.pop()
        if id(one) not in known and not isinstance(one, SHARED):
            known.add(id(one))
            found.append(one)
            waiting.extend(gc.get_referents(one))
    return found


def held(session: Session) -> tuple[int, int]:
    """Objects and bytes of one stream, without its model and its settled text."""
    known = set[int]()
    shared = [session.model, session.policy, session.selector]
    keep_alive = reach(shared, known)
    objects = [one for one in reach([vars(session)], known) if not isinstance(one, int | float)]
    assert keep_alive
    return len(objects), sum(sys.getsizeof(one) for one in objects)


def grown(model: Translator, policy: str, speech: FloatArray, rounds: int) -> tuple[int, int, int]:
    """Objects, bytes and characters of text between the second and the last third of the rounds, at the most of each.

    What is kept rises and falls as history is forgotten, and pieces of settled text are joined now and then.
    """
    session, found = Session(model, load_policy(policy)), list[tuple[int, int, int]]()
    for _ in range(rounds):
        session.feed(speech)
        found.append((*held(session), len(session.text)))
    middle, late = found[rounds // 3 : 2 * rounds // 3], found[2 * rounds // 3 :]
    objects, size, text = (
        max(column) - max(row) for column, row in zip(zip(*late, strict=True), zip(*middle, strict=True), strict=True)
    )
    return objects, size, text


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["stream_att", "local_agreement", "retranslation"])
def test_a_stream_keeps_nothing_but_its_text(policy: str) -> None:
    speech = toy_audio([int(word) for word in np.random.default_rng(0).integers(1, 61, 60)])
    objects, size, text = grown(ToyTranslator(), policy, speech, 12)
    assert text > 800
    assert objects < 80 and size < 2 * text + 10_000  # of some 230 words and 120 chunks
