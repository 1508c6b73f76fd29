"""Run a policy on a script: one chunk of ten frames of 40 ms per call."""

from collections.abc import Sequence

import numpy as np

from simulst.core.policy import AnyPolicy
from simulst.core.session import Session
from simulst.testing.scripted import Scripted, ScriptedTranslator, ToyVocabulary


def play(
    policy: AnyPolicy,
    script: Sequence[Scripted],
    vocabulary: ToyVocabulary,
    *,
    chunks: int | None = None,
    source_words: Sequence[int] = (),
    history: str = "keep_all",
) -> tuple[Session, list[str]]:
    """The session after `chunks` chunks of sound (one per line of the script), and the text shown after each."""
    model = ScriptedTranslator(vocabulary=vocabulary, script=script, source_words=source_words)
    session = Session(model, policy, chunk_ms=400, history=history)
    shown = []
    for _ in range(len(script) if chunks is None else chunks):
        session.feed(np.full(6400, 0.1, dtype=np.float32))
        shown.append(session.text)
    return session, shown
