"""Subtitle files, every cue as soon as nothing can change it."""

from typing import ClassVar, TextIO

from simulst.core.events import SinkEvent, WriteEvent
from simulst.sinks.shown import Shown
from simulst.sinks.sink import FileSink
from simulst.sinks.subtitles import VTT_HEADER, Cue, CueTrack, SubtitleStyle, srt_cue, vtt_cue


class FinishedCues:
    """The cues of a stream, each once, when it can no longer change."""

    def __init__(self, style: SubtitleStyle | None = None) -> None:
        self._shown = Shown()
        self._track = CueTrack(style)
        self._given = 0

    def take(self, event: SinkEvent) -> list[Cue]:
        """The cues that are finished with this event."""
        self._shown.take(event)
        if isinstance(event, WriteEvent):
            self._track.write(event)
        settled = self._track.settled(self._shown.settled)
        return self._new(self._track.cues()[:settled]) if settled > self._given else []

    def rest(self) -> list[Cue]:
        """The cues that were still open."""
        return self._new(self._track.cues())

    def _new(self, cues: list[Cue]) -> list[Cue]:
        new, self._given = cues[self._given :], len(cues)
        return new


class CueFile(FileSink):
    """A file of subtitles; `block` is what one of them looks like."""

    def __init__(self, out: TextIO, style: SubtitleStyle) -> None:
        super().__init__(out, style)
        self._cues = FinishedCues(style)
        self._number = 0

    def handle(self, event: SinkEvent) -> None:
        self._put(self._cues.take(event))

    def close(self) -> None:
        self._put(self._cues.rest())

    def _put(self, cues: list[Cue]) -> None:
        for cue in cues:
            self._number += 1
            self.write(self.block(self._number, cue))

    def block(self, number: int, cue: Cue) -> str:
        """A subtitle; `number` counts from 1."""
        raise NotImplementedError


class Srt(CueFile):
    """SubRip."""

    suffix: ClassVar[str] = ".srt"

    def block(self, number: int, cue: Cue) -> str:
        return srt_cue(number, cue)


class Vtt(CueFile):
    """WebVTT."""

    suffix: ClassVar[str] = ".vtt"

    def __init__(self, out: TextIO, style: SubtitleStyle) -> None:
        super().__init__(out, style)
        self.write(VTT_HEADER)

    def block(self, number: int, cue: Cue) -> str:
        return vtt_cue(cue)
