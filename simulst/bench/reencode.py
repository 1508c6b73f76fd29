"""A translator that keeps nothing between chunks: the kept audio is encoded and the context filled anew each time."""

from typing import Any

import numpy as np

from simulst.errors import ModelError
from simulst.source import SAMPLE_RATE, SourceBuffer
from simulst.translators.base import FloatArray, Hypothesis


class ReencodingSession:
    """Holds samples; every call opens a fresh session on them."""

    def __init__(self, translator: Any) -> None:
        self.translator = translator
        self._source = SourceBuffer()
        self._inner: Any = None

    @property
    def start_s(self) -> float:
        return self._source.start_s

    @property
    def heard_s(self) -> float:
        return self._source.end_s

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        self._source.append(np.asarray(samples, dtype=np.float32), is_final=is_final)
        self._inner = None

    def drop_source(self, to_s: float) -> None:
        self._source.trim(int(to_s / self.translator.frame_s) * round(self.translator.frame_s * SAMPLE_RATE))
        self._inner = None

    def _fresh(self) -> Any:
        if self._inner is None:
            self._inner = self.translator.open()
            self._inner.extend_source(self._source.read(), is_final=True)
        return self._inner

    def hypothesise(self, prefix: Any, **settings: Any) -> list[Hypothesis]:
        from dataclasses import replace

        found = self._fresh().hypothesise(prefix, **settings)
        return [
            h if h.alignment is None else replace(h, alignment=replace(h.alignment, start_s=self.start_s))
            for h in found
        ]

    def source_words(self) -> int:
        raise ModelError("A re-encoding session does not count source words over the whole stream; use another policy.")

    def transcript(self) -> str:
        return str(self._fresh().transcript())

    def drop_target(self, count: int) -> None:
        pass

    def snapshot(self) -> object:
        import copy

        return copy.deepcopy(self._source)

    def rollback(self, snapshot: object) -> None:
        import copy

        self._source, self._inner = copy.deepcopy(snapshot), None  # type: ignore[assignment]


class Reencoding:
    """The same weights without memory."""

    def __init__(self, translator: Any) -> None:
        self._translator = translator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._translator, name)

    def open(self) -> ReencodingSession:
        return ReencodingSession(self._translator)


def reencoding(translator: Any) -> Any:
    """Wrap a translator for comparison."""
    return Reencoding(translator)
