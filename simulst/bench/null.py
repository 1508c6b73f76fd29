"""A model that costs nothing, and one that costs a known time: what is left is the harness.

They are model families of this file: `--model simulst/bench/null.py:NULL` and `:BUSY`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulst.core.translator import PLAIN, Evidence, FloatArray, Hypothesis, PlainSession, PlainTranslator, Query
from simulst.models import ModelFamily

BUSY_LOOPS = 400_000
"""Turns of an empty loop, some 7 to 14 ms, that a hypothesis of the busy model costs."""
PROVIDES = frozenset({Evidence.PREFIX})


def spin(loops: int) -> None:
    """A fixed amount of work, which two processes on two threads of one core do slower than one."""
    for _ in range(loops):
        pass


class NullVocabulary:
    """One word and the end of the sequence."""

    eos, spaced = 0, True

    def decode(self, ids: Sequence[int]) -> str:
        return " word" * sum(token > 0 for token in ids)

    def starts_word(self, token: int) -> bool:
        return token > 0

    def closes_unit(self, token: int) -> bool:
        return False


class NullTranslator(PlainTranslator):
    """Says one more word whenever it is asked; looks at nothing but the clock."""

    provides = PROVIDES
    frame_s = 0.04
    max_source_s = 30.0

    def __init__(self, name: str, loops: int) -> None:
        self.name, self.loops = name, loops
        self.vocabulary = NullVocabulary()

    def open(self) -> "NullSession":
        return NullSession(self.loops)


class NullSession(PlainSession):
    def __init__(self, loops: int) -> None:
        self.loops = loops
        self.start_s = self.heard_s = 0.0

    @property
    def source_end(self) -> int:
        return round(self.heard_s * 16_000)

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        self.heard_s += len(samples) / 16_000

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        spin(self.loops)
        return [Hypothesis(ids=(1,), stop="eos")]

    def drop_source(self, to_s: float) -> None:
        self.start_s = max(self.start_s, to_s)


@dataclass(frozen=True, kw_only=True)
class Options:
    """There are none."""


def _family(name: str, loops: int) -> ModelFamily[Options]:
    def provides(directory: Path, options: Options) -> frozenset[Evidence]:
        return PROVIDES

    def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> NullTranslator:
        return NullTranslator(name, loops)

    return ModelFamily(name=name, options=Options, provides=provides, load=load)


NULL, BUSY = _family("null", 0), _family("busy", BUSY_LOOPS)
