"""Streams of noise for models whose weights are random."""

import numpy as np

from simulst.core.session import Session
from simulst.core.translator import FloatArray, Translator
from simulst.policies import load_policy


def noise(seconds: float, seed: int) -> FloatArray:
    """16 kHz samples, the same for the same seed."""
    return (0.1 * np.random.default_rng(seed).standard_normal(int(16_000 * seconds))).astype(np.float32)


def speak(model: Translator, policy: str, audio: FloatArray, *, samples: int = 16_000) -> str:
    """The text of a stream that is fed `samples` at a time."""
    session = Session(model, load_policy(policy))
    for at in range(0, len(audio), samples):
        session.feed(audio[at : at + samples])
    session.finish()
    return session.text
