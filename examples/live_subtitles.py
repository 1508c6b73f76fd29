"""Live subtitles in under sixty lines: listen, translate, show the last words, keep an SRT file that is always valid.

    python examples/live_subtitles.py mic out.srt
    python examples/live_subtitles.py examples/talk.flac out.srt

Sources are those of `simulst translate`: a file, a URL, `-` or `mic`. A file is read at the speed of speech.
"""

import sys
import time
from pathlib import Path

from simulst import Session, load_model, load_policy
from simulst.audio import SAMPLE_RATE, open_audio
from simulst.core.events import Event, WriteEvent
from simulst.errors import SimulstError
from simulst.sinks.subtitles import CueTrack, to_srt


def show(events: list[Event], track: CueTrack, out: Path) -> None:
    for event in events:
        if isinstance(event, WriteEvent):
            track.write(event)
    if events:
        cues = track.cues()
        out.write_text(to_srt(cues), encoding="utf-8")
        print("\r\033[K" + " ".join(cues[-1].lines if cues else ()), end="", flush=True)


def main(source: str, out: Path) -> None:
    track = CueTrack()
    with open_audio(source) as stream:
        session = Session(load_model("tiny-en-de"), load_policy("stream_att"))
        begin = time.monotonic()
        heard_s = 0.0
        try:
            for block in stream:
                heard_s += len(block) / SAMPLE_RATE
                if not stream.live:
                    time.sleep(max(0.0, begin + heard_s - time.monotonic()))
                show(session.feed(block, catch_up=True), track, out)
        except KeyboardInterrupt:
            print("\nfinishing")
        show(session.finish(), track, out)
    took = f"{session.stats.compute_s:.1f} s of computing for {session.audio_s:.1f} s of audio"
    print(f"\n{out}: {len(track.cues())} subtitles, {took}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except SimulstError as error:
        sys.exit(str(error))
