"""Jumping to a place in a compressed recording, so that a short stretch does not cost decoding all that precedes it."""

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

EXACT_TIMES = frozenset({"mp3", "aac", "mov", "matroska", "asf", "avi", "mpegts"})
"""Formats whose timestamps FFmpeg gives to the sample or nearly so (Matroska: to 1 ms) and can jump by."""
LEAD_S = 1.0
"""Decoded before the place, as frames refer back to others."""


def seek(container: InputContainer, track: AudioStream, rate_hz: int, first: int) -> int:
    """Go to a frame shortly before frame `first`; returns the number of the next one decoded, 0 where none is known."""
    if EXACT_TIMES.isdisjoint(container.format.name.split(",")) or first <= 2 * LEAD_S * rate_hz:
        return 0
    try:
        origin = _next_s(container, track)
        if origin is None:
            return _rewind(container, track)
        _go(container, track, origin + first / rate_hz - LEAD_S)
        reached = _next_s(container, track)
        if reached is None or not 0 <= (position := round((reached - origin) * rate_hz)) <= first:
            return _rewind(container, track)
        _go(container, track, origin + first / rate_hz - LEAD_S)
    except (av.FFmpegError, OSError):
        return _rewind(container, track)
    return position


def _next_s(container: InputContainer, track: AudioStream) -> float | None:
    """When the next decoded frame begins; it is taken."""
    frame = next(container.decode(track), None)
    return None if frame is None else frame.time


def _go(container: InputContainer, track: AudioStream, time_s: float) -> None:
    assert track.time_base is not None
    container.seek(int(time_s / track.time_base), stream=track)


def _rewind(container: InputContainer, track: AudioStream) -> int:
    container.seek(0, stream=track)
    return 0
