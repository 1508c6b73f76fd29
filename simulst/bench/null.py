"""A model that costs nothing, and one that costs a known time: what is left is the harness.

`python -m simulst.bench.null ARGUMENTS` is the command `simulst` with `--model null` and `--model busy`.
"""

import sys
from collections.abc import Sequence
from typing import Any

from simulst.core.translator import Evidence, FloatArray, Gate, Hypothesis, Translator

LOOPS = {"null": 0, "busy": 400_000}
"""Turns of an empty loop, some 7 to 14 ms for the busy one, that a hypothesis costs."""


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


class NullTranslator:
    """Says one more word whenever it is asked; looks at nothing but the clock."""

    provides = frozenset({Evidence.PREFIX})
    frame_s = 0.04
    max_source_s = 30.0

    def __init__(self, name: str = "null") -> None:
        self.name = name
        self.vocabulary = NullVocabulary()

    def open(self) -> "NullSession":
        return NullSession(LOOPS[self.name])


class NullSession:
    def __init__(self, loops: int) -> None:
        self.loops = loops
        self.start_s = self.heard_s = 0.0

    @property
    def source_end(self) -> int:
        return round(self.heard_s * 16_000)

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        self.heard_s += len(samples) / 16_000

    def hypothesise(
        self,
        prefix: Sequence[int],
        *,
        max_new: int | None = None,
        n_best: int = 1,
        sample: bool = False,
        seed: int = 0,
        gate: Gate | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> list[Hypothesis]:
        spin(self.loops)
        return [Hypothesis(ids=(1,), stop="eos")]

    def source_words(self, since_s: float = 0.0) -> int:
        return 0

    def transcript(self) -> str:
        return ""

    def drop_source(self, to_s: float) -> None:
        self.start_s = max(self.start_s, to_s)

    def drop_target(self, count: int) -> None: ...

    def snapshot(self) -> object:
        return (self.start_s, self.heard_s)

    def rollback(self, snapshot: object) -> None:
        assert isinstance(snapshot, tuple)
        self.start_s, self.heard_s = snapshot


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line with these models beside the real ones."""
    import simulst.cli
    import simulst.models

    real_load, real_options = simulst.models.load_model, simulst.models.option_names

    def load(name: str, **options: Any) -> Translator:
        return NullTranslator(name) if name in LOOPS else real_load(name, **options)

    def option_names(name: str) -> frozenset[str]:
        return frozenset() if name in LOOPS else real_options(name)

    simulst.models.load_model = load  # type: ignore[assignment]
    simulst.models.option_names = option_names  # type: ignore[assignment]
    return simulst.cli.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
