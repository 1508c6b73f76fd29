"""The other way to translate a stream: encode all kept audio and decode all kept text anew at every chunk."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulst.core.source import SAMPLE_RATE, SourceBuffer
from simulst.core.translator import Evidence, FloatArray, Hypothesis, ReadWrite, Turn


class ReencodingSession:
    """Begins a fresh session on the kept audio whenever more of it has come; nothing is cached between chunks."""

    def __init__(self, translator: Any) -> None:
        self.translator = translator
        self._source = SourceBuffer()
        self._inner: Any = None
        self._interleaved: Any = None
        self._words_gone = 0
        self.tally = getattr(translator.open(), "tally", None)

    @property
    def start_s(self) -> float:
        return self._source.start_s

    @property
    def heard_s(self) -> float:
        return self._source.end_s

    @property
    def source_end(self) -> int:
        return self._source.end

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        self._source.append(np.asarray(samples, dtype=np.float32), is_final=is_final)
        self._inner = None

    def drop_source(self, to_s: float) -> None:
        first = int(to_s / self.translator.frame_s + 1e-6)
        if hasattr(self._fresh(), "word_times"):
            self._words_gone += sum(at < first * self.translator.frame_s for _, at in self._fresh().word_times())
        self._source.trim(first * round(self.translator.frame_s * SAMPLE_RATE))
        if self._interleaved is not None:
            self._interleaved.drop_source(first)
        self._inner = None

    def _fresh(self) -> Any:
        if self._inner is None:
            self._inner = self.translator.open()
            if self.tally is not None:
                self._inner.tally = self.tally
                self._inner._first = round(self.start_s / self.translator.frame_s)
            if self._interleaved is not None:
                self._inner._interleaved = self._interleaved
                self._interleaved.cache.crop(0)
            self._inner.extend_source(self._source.read(), is_final=True)
        return self._inner

    def hypothesise(self, prefix: Sequence[int], **settings: Any) -> list[Hypothesis]:
        from dataclasses import replace

        found = self._fresh().hypothesise(prefix, **settings)
        return [
            h if h.alignment is None else replace(h, alignment=replace(h.alignment, start_s=self.start_s))
            for h in found
        ]

    def read_write(
        self, prefix: Sequence[int], plan: ReadWrite, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        found: Hypothesis = self._fresh().read_write(prefix, plan, final=final, want=want)
        self._interleaved = self._inner._interleaved
        return found

    def turns(self) -> tuple[Sequence[Turn], int]:
        return ((), 0) if self._interleaved is None else self._interleaved.turns()

    def source_words(self, since_s: float = 0.0) -> int:
        gone = self._words_gone if since_s <= 0 else 0
        return gone + int(self._fresh().source_words(since_s))

    def transcript(self) -> str:
        return str(self._fresh().transcript())

    def drop_target(self, count: int) -> None:
        if self._interleaved is not None:
            self._interleaved.drop_target(count)

    def snapshot(self) -> object:
        import copy

        return copy.deepcopy((self._source, self._words_gone))

    def rollback(self, snapshot: object) -> None:
        import copy

        self._source, self._words_gone = copy.deepcopy(snapshot)  # type: ignore[misc]
        self._inner = None


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
