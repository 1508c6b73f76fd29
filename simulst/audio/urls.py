"""Streams behind an address, through FFmpeg's protocols."""

import re

import av
from av.container import InputContainer

from simulst.audio import containers
from simulst.audio.containers import reason, stream_of
from simulst.audio.pipes import open_pipe
from simulst.audio.stream import AudioStream
from simulst.errors import AudioError

NETWORK = "http,https,tcp,tls,crypto,httpproxy,rtmp,rtmps,rtsp,rtp,udp,srt,hls,data"
"""Protocols a URL may lead to; never `file`, so that a remote playlist cannot read local files."""
PIPED = frozenset({"wav", "w64", "aiff", "au", "caf"})
"""Formats whose sizes FFmpeg fits to what is there, hiding a cut: behind an address they are read as pipes."""


def open_url(url: str) -> AudioStream:
    """Open a network stream. Raises AudioError."""
    shown = re.sub(r"//[^/@]*@", "//", url)
    container = _connect(url, shown)
    if PIPED.isdisjoint(container.format.name.split(",")):
        return stream_of(container, shown, container.close)
    container.close()
    return open_pipe(Download(_connect(url, shown, raw=True), shown), shown)


def _connect(url: str, shown: str, *, raw: bool = False) -> InputContainer:
    try:
        options = {"protocol_whitelist": NETWORK}
        kind = "data" if raw else None
        container: InputContainer = av.open(
            url, "r", format=kind, options=options, timeout=(containers.TIMEOUT_S, containers.TIMEOUT_S)
        )
        return container
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{shown} cannot be opened: {reason(error)}.") from None


class Download:
    """The bytes behind an address, through FFmpeg's protocols."""

    def __init__(self, container: InputContainer, shown: str) -> None:
        self._container = container
        self._packets = container.demux(container.streams[0])
        self._shown = shown
        self._front = b""

    def read(self, count: int = -1) -> bytes:
        """What has come, at most `count` bytes; b"" at the end. Raises AudioError."""
        try:
            while not self._front and (packet := next(self._packets, None)) is not None:
                self._front = bytes(packet)
        except (av.FFmpegError, OSError) as error:
            raise AudioError(f"{self._shown} broke off: {reason(error)}.") from None
        count = len(self._front) if count < 0 else count
        data, self._front = self._front[:count], self._front[count:]
        return data

    def close(self) -> None:
        self._container.close()
