"""WebVTT segments for HLS (RFC 8216): a folder with a playlist that grows while a stream is translated."""

from pathlib import Path

from simulst.core.events import EndEvent, ProgressEvent, SinkEvent, WriteEvent
from simulst.outputs import naming, whole_file
from simulst.sinks.shown import Shown
from simulst.sinks.subtitles import CueTrack, vtt_cue

SEGMENT_S = 6
PLAYLIST = "captions.m3u8"
PATIENCE_S = 30.0
"""A segment is published this long after its end even where its text may still change."""
HEADER = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n"


class HlsCaptions:
    """A sink that writes `captions.m3u8` and `captions00001.vtt`, ... of 6 s each into a folder.

    A segment comes once no cue that begins in it can change. Cues that reach over a border stand in both segments.
    Raises OutputError where the folder cannot be written.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        with naming(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._shown, self._track = Shown(), CueTrack()
        self._published = 0
        self._heard_s = 0.0
        self._list(ended=False)

    def handle(self, event: SinkEvent) -> None:
        self._shown.take(event)
        if isinstance(event, WriteEvent):
            self._track.write(event)
        if isinstance(event, WriteEvent | ProgressEvent | EndEvent):
            self._heard_s = event.audio_s
        while self._heard_s >= (self._published + 1) * SEGMENT_S + self._wait_s:
            self._publish()
            self._list(ended=False)

    def close(self) -> None:
        cues = self._track.cues()
        end_s = max(self._heard_s, cues[-1].end_s if cues else 0.0)
        while self._published * SEGMENT_S < end_s:
            self._publish()
        self._list(ended=True)

    @property
    def _wait_s(self) -> float:
        """How long after its end a segment is certain."""
        settled = self._shown.settled == len(self._shown.text)
        return self._track.style.max_s if settled else PATIENCE_S

    def _publish(self) -> None:
        begin, end = self._published * SEGMENT_S, (self._published + 1) * SEGMENT_S
        cues = [cue for cue in self._track.cues() if round(cue.start_s, 3) < end and round(cue.end_s, 3) > begin]
        self._published += 1
        self._write(_name(self._published), HEADER + "".join(map(vtt_cue, cues)))

    def _list(self, *, ended: bool) -> None:
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{SEGMENT_S}", "#EXT-X-PLAYLIST-TYPE:EVENT"]
        lines += ["#EXT-X-MEDIA-SEQUENCE:1"]
        for number in range(1, self._published + 1):
            lines += [f"#EXTINF:{SEGMENT_S}.000,", _name(number)]
        self._write(PLAYLIST, "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else [])]) + "\n")

    def _write(self, name: str, text: str) -> None:
        with whole_file(self._folder / name) as file:
            file.write_text(text, encoding="utf-8")


def _name(number: int) -> str:
    return f"captions{number:05}.vtt"
