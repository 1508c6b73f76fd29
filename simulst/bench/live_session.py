"""The long session of `simulst bench live`: one stream through the socket, as fast as the server takes it."""

import json
import statistics
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import psutil
from websockets.sync.client import ClientConnection, connect

from simulst.audio import SAMPLE_RATE, FloatArray, read_audio

BLOCK = 1_600
"""Samples per message: 100 ms at 16 kHz."""
AHEAD_CHUNKS = 3
"""Audio that is sent before what is decided on: little, so that the lag is that of a live stream."""
MARKS = 6
"""Stretches of the session whose figures are told apart."""


def blocks(source: Path, minutes: float) -> Iterator[FloatArray]:
    """`source` repeated for that many minutes."""
    audio = read_audio(source)
    left = round(minutes * 60 * SAMPLE_RATE)
    while left > 0:
        said = audio[:left]
        left -= len(said)
        for start in range(0, len(said), BLOCK):
            yield said[start : start + BLOCK]


class _Speaker(threading.Thread):
    """Sends the audio, never far ahead of what the server has decided on."""

    def __init__(self, socket: ClientConnection, source: Path, minutes: float, ahead_s: float) -> None:
        super().__init__(daemon=True)
        self._socket = socket
        self._blocks = blocks(source, minutes)
        self._ahead_s = ahead_s
        self._decided = threading.Condition()
        self._decided_s = 0.0
        self.sent_s: list[float] = []
        """Seconds sent with each message, and before it."""
        self.sent_at: list[float] = []

    def decided(self, audio_s: float) -> None:
        with self._decided:
            self._decided_s = max(self._decided_s, audio_s)
            self._decided.notify()

    def run(self) -> None:
        samples = 0
        for block in self._blocks:
            samples += len(block)
            self._wait(samples / SAMPLE_RATE - self._ahead_s)
            self.sent_s.append(samples / SAMPLE_RATE)
            self.sent_at.append(time.monotonic())
            self._socket.send(block.tobytes())
        self._socket.send(json.dumps({"type": "end"}))

    def _wait(self, audio_s: float) -> None:
        """Wait until that much is decided on."""
        with self._decided:
            self._decided.wait_for(lambda: self._decided_s >= audio_s)

    def since(self, at_s: float) -> float:
        """Seconds since the audio up to `at_s` was sent."""
        index = min(bisect_left(self.sent_s, at_s - 1e-6), len(self.sent_at) - 1)
        return time.monotonic() - self.sent_at[index]


class LongSession(TypedDict):
    """The text of the session, and the figures of its stretches by the minute in which each ends."""

    text: str
    marks: dict[str, dict[str, float]]


def long_session(address: str, server_pid: int, source: Path, policy: str, minutes: float) -> LongSession:
    """Text of the session, and for each of its stretches: memory of the server at its end, lag, computing time."""
    with connect(address, compression=None, ping_interval=None, max_size=None) as socket:
        hello = {"type": "hello", "version": 1, "sample_rate": SAMPLE_RATE, "format": "f32le", "pace": "file"}
        socket.send(json.dumps({**hello, "policy": policy, "hypotheses": False}))
        ready = json.loads(socket.recv())
        speaker = _Speaker(socket, source, minutes, AHEAD_CHUNKS * ready["chunk_ms"] / 1000)
        speaker.start()
        found = _listen(socket, speaker, psutil.Process(server_pid), minutes)
        speaker.join()
    return found


def _listen(socket: ClientConnection, speaker: _Speaker, server: psutil.Process, minutes: float) -> LongSession:
    stretch_s = 60 * minutes / MARKS
    lags: list[list[float]] = [[] for _ in range(MARKS)]
    marks: list[dict[str, float]] = []
    cpu_s = _cpu_s(server)
    while True:
        message = json.loads(socket.recv())
        if message["type"] == "write":
            spoken_s = message["end_s"] if message["end_s"] is not None else message["audio_s"]
            lags[min(MARKS - 1, int(message["audio_s"] / stretch_s))].append(speaker.since(spoken_s))
        elif message["type"] == "lag":
            speaker.decided(message["audio_s"])
        elif message["type"] == "error":
            raise SystemExit(f"simulst: {message['message']}")
        passed = message["type"] == "lag" and message["audio_s"] >= stretch_s * (len(marks) + 1)
        if message["type"] == "end" or (passed and len(marks) < MARKS - 1):
            used_s, cpu_s = _cpu_s(server) - cpu_s, _cpu_s(server)
            marks.append({"rss_mb": server.memory_info().rss / 2**20, "cpu_rtf": used_s / stretch_s})
        if message["type"] == "end":
            break
    for mark, values in zip(marks, lags, strict=True):
        ordered = sorted(values) or [0.0]
        mark["lag_median_s"] = statistics.median(ordered)
        mark["lag_p95_s"] = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {
        "text": message["text"],
        "marks": {f"{minutes * (i + 1) / MARKS:.3g}": mark for i, mark in enumerate(marks)},
    }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
