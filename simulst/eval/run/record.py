"""From the events of a stream to what a log counts: when which unit was written, and what each chunk cost."""

from typing import Protocol

from simulst.audio.samples import SAMPLE_RATE
from simulst.core.events import EndEvent, ProgressEvent, SinkEvent, WriteEvent
from simulst.eval.logs.instances import Instance
from simulst.eval.logs.units import Unit
from simulst.sinks.shown import Shown
from simulst.sinks.words import WordWriter


def cut_units(text: str, unit: Unit) -> list[str]:
    """Units as SimulEval counts them: words between white space, or characters without spaces."""
    return text.split() if unit == "word" else list("".join(text.split()))


def milliseconds(seconds: float) -> float:
    """Of whole samples, as SimulEval computes them."""
    return round(seconds * SAMPLE_RATE) * 1000 / SAMPLE_RATE


class Units(Protocol):
    """A sink that notes when every unit was written."""

    times: list[tuple[float, float]]
    """(audio, audio + all computation so far) when it was written, seconds."""

    @property
    def text(self) -> str: ...
    def handle(self, event: SinkEvent) -> None: ...
    def close(self) -> None: ...


class AppendedUnits:
    """Every unit with the audio received and the computation spent when it was written; nothing is taken back."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._writer = WordWriter()
        self._given = ""
        self.units: list[str] = []
        self.times: list[tuple[float, float]] = []

    def handle(self, event: SinkEvent) -> None:
        self._writer.handle(event)
        if isinstance(event, ProgressEvent | EndEvent):
            text = self._writer.take()
            new = cut_units(text, self._unit)
            self._given += text
            self.units += new
            self.times += [(event.audio_s, event.audio_s + event.compute_s)] * len(new)

    def close(self) -> None: ...

    @property
    def text(self) -> str:
        return " ".join(self.units) if self._unit == "word" else self._given.strip()


class RevisedUnits:
    """Units and times of text that is taken back and corrected: a unit has the time of the write that last changed it.

    With `begun` a word that grows keeps the time at which it began to be shown, as a viewer counts.
    """

    def __init__(self, unit: Unit, *, begun: bool = False) -> None:
        self._unit, self._begun, self._shown = unit, begun, Shown()
        self.times: list[tuple[float, float]] = []

    def handle(self, event: SinkEvent) -> None:
        old, keep = self._shown.text, self._shown.take(event)
        if isinstance(event, WriteEvent):
            self._change(event, old, keep)

    def close(self) -> None: ...

    def _change(self, event: WriteEvent, old: str, keep: int) -> None:
        new = self._shown.text
        kept = len(cut_units(old[:keep], self._unit))
        ends = not old[keep : keep + 1].strip() and not new[keep : keep + 1].strip()
        if self._unit == "word" and not self._begun and kept and not ends and not old[keep - 1].isspace():
            kept -= 1  # the change reaches into the last kept word
        count = len(cut_units(new, self._unit))
        now = (event.audio_s, event.audio_s + event.compute_s)
        self.times = [*self.times[:kept], *[now] * (count - kept)]

    @property
    def text(self) -> str:
        return " ".join(self._shown.text.split()) if self._unit == "word" else self._shown.text.strip()


class EvaluationLog:
    """A sink that makes a stream an instance of the log."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._steps = 0
        self._spent_s = self._audio_s = 0.0
        self.chunks: list[tuple[float, float]] = []
        """(audio decided on, computation since the entry before), milliseconds."""

    def handle(self, event: SinkEvent) -> None:
        self._units.handle(event)
        if isinstance(event, EndEvent) or (isinstance(event, ProgressEvent) and event.step > self._steps):
            before, self._spent_s, self._audio_s = self._spent_s, event.compute_s, event.audio_s
            self.chunks.append((milliseconds(event.audio_s), round((event.compute_s - before) * 1000, 4)))
        if isinstance(event, ProgressEvent):
            self._steps = event.step

    def close(self) -> None: ...

    def instance(
        self,
        index: int,
        source: str,
        *,
        reference: str | None = None,
        erased_units: int | None = None,
        extra: dict[str, object] | None = None,
    ) -> Instance:
        """What was seen; after the end of the stream."""
        return Instance(
            index=index,
            source=source,
            prediction=self._units.text,
            delays_ms=tuple(milliseconds(audio) for audio, _ in self._units.times),
            elapsed_ms=tuple(milliseconds(a) + round((b - a) * 1000, 4) for a, b in self._units.times),
            source_length_ms=milliseconds(self._audio_s),
            reference=reference,
            chunks=tuple(self.chunks),
            erased_units=erased_units,
            extra=extra or {},
        )
