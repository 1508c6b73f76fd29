"""An hour through the socket, faster than real time: memory and lag stay where they were."""

import json
import statistics
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

from simulst.testing import toy_audio, toy_text

MINUTES = 60


@pytest.mark.slow
def test_an_hour_leaves_memory_and_lag_flat(serve: Callable[..., Any], client: Callable[..., Any]) -> None:
    one = client(serve())
    one.hello(pace="file", chunk_ms=960)
    rng = np.random.default_rng(0)
    minutes = [[int(word) for word in rng.integers(0, 61, 187)] for _ in range(MINUTES)]  # 187.5 slots a minute

    def speak() -> None:
        for words in minutes:
            one.audio(toy_audio(words), 16_000)
        one.say(type="end")

    speaker = threading.Thread(target=speak)
    speaker.start()
    memory_mb: dict[int, float] = {}
    waiting: dict[int, list[float]] = {}
    text = ""
    while True:
        message = json.loads(one.socket.recv(timeout=60))
        if message["type"] == "write":
            assert message["start"] == len(text)
            text += message["text"]
        elif message["type"] == "lag":
            minute = int(message["audio_s"] // 60)
            waiting.setdefault(minute, []).append(message["backlog_s"])
            memory_mb.setdefault(minute, psutil.Process().memory_info().rss / 2**20)
        elif message["type"] == "end":
            break
        else:
            assert message["type"] in ("hypothesis", "transcript", "ready")
    speaker.join()
    assert text == message["text"]
    assert len(text.split()) == pytest.approx(len(toy_text([w for words in minutes for w in words]).split()), rel=0.01)
    assert memory_mb[59] - memory_mb[10] < 20
    first = statistics.median(b for minute in range(5, 10) for b in waiting[minute])
    last = statistics.median(b for minute in range(54, 59) for b in waiting[minute])
    assert last < first + 2.0
