"""What `simulst bench live` is made of, with a toy model: its clients say everything and hear everything."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from simulst.bench.live import _quantile, common_words
from simulst.bench.live_session import blocks, long_session
from simulst.core.session import Session
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio, toy_text

WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7]
Serve = Callable[..., Any]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, toy_audio(WORDS), 16_000, subtype="FLOAT")
    return path


@pytest.mark.parametrize("seconds", [0.05, 3.84, 4.0, 12.3])
def test_a_file_is_said_again_and_again(speech: Path, seconds: float) -> None:
    said = np.concatenate(list(blocks(speech, seconds / 60)))
    assert len(said) == round(seconds * 16_000)
    assert np.array_equal(said, np.resize(toy_audio(WORDS), len(said)))


def test_a_long_session_hears_everything_and_tells_its_stretches_apart(serve: Serve, speech: Path) -> None:
    address = serve().address.replace("http", "ws") + "/ws"
    found = long_session(address, os.getpid(), speech, "stream_att", 0.5)
    session = Session(ToyTranslator(), load_policy("stream_att"))
    session.feed(np.concatenate(list(blocks(speech, 0.5))))
    session.finish()
    assert found["text"] == session.text
    assert list(found["marks"]) == ["0.0833", "0.167", "0.25", "0.333", "0.417", "0.5"]
    for mark in found["marks"].values():
        assert mark["rss_mb"] > 10
        assert 0 <= mark["lag_median_s"] <= mark["lag_p95_s"]


@pytest.mark.slow
def test_a_client_process_speaks_in_real_time(serve: Serve, speech: Path) -> None:
    address = serve().address.replace("http", "ws") + "/ws"
    command = [sys.executable, "-m", "simulst.bench.live_client", address, str(speech), "60", "stream_att", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["text"] == toy_text(WORDS)
    assert found["lags_s"] and min(found["lags_s"]) >= 0
    assert found["backlog_max_s"] < len(WORDS) * 0.32


def test_lost_words_are_those_out_of_order_too() -> None:
    assert common_words("a b c d".split(), "a c d".split()) == 3
    assert common_words("a b c".split(), "c b a".split()) == 1
    assert (_quantile([5, 1, 3], 0.5), _quantile([5, 1, 3], 0.95)) == (3, 5)
