"""Live subtitles in fifty lines: listen, translate, show the last words, keep an SRT file that is valid at any moment.

    python examples/live_subtitles.py mic out.srt
    python examples/live_subtitles.py examples/talk.flac out.srt

Sources are those of `simulst translate`: a file, a URL, `-` or `mic`. A file is read at the speed of speech.
"""

import sys
import time
from pathlib import Path

from simulst import Session, load_model, load_policy
from simulst.audio import open_audio
from simulst.events import Event, WriteEvent
from simulst.live.subtitles import CueTrack, to_srt


def show(events: list[Event], track: CueTrack, out: Path) -> None:
    for event in events:
        if isinstance(event, WriteEvent):
            track.write(event)
    if events:
        cues = track.cues()
        out.write_text(to_srt(cues), encoding="utf-8")
        print("\r\033[K" + " ".join(cues[-1].lines if cues else ()), end="", flush=True)


def main(source: str, out: Path) -> None:
    session = Session(load_model("tiny-en-de"), load_policy("stream_att"))
    track = CueTrack()
    begin = time.monotonic()
    heard_s = 0.0
    with open_audio(source) as stream:
        try:
            for block in stream:
                heard_s += len(block) / 16_000
                if not stream.live:
                    time.sleep(max(0.0, begin + heard_s - time.monotonic()))
                show(session.feed(block, catch_up=True), track, out)
        except KeyboardInterrupt:
            print("\nfinishing")
        show(session.finish(), track, out)
    rtf = session.stats.compute_s / session.audio_s
    print(f"\n{out}: {len(track.cues())} subtitles, computing time {rtf:.2f} of real time")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
