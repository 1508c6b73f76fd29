"""`simulst bench soak --live` from the command line, with a server process that has a toy model."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from simulst.testing import toy_audio

TOY = Path(__file__).with_name("toy_simulst.py")
WORDS = [int(word) for word in np.random.default_rng(0).integers(1, 61, 96)]


@pytest.mark.slow
def test_the_command_starts_a_server_and_clients(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulst.bench.live.COMMAND", (sys.executable, str(TOY)))
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, toy_audio(WORDS), 16_000, subtype="FLOAT")
    command = ["bench", "soak", "--live", "--json", "--model", "toy", "--audio", speech, "--hours", 0.04]
    status, out, err = run(*command, "--clients", 3)
    assert status == 0, err
    found = json.loads(out)
    assert found["words"] > 100 and found["words_lost"] == 0 and found["audio_hours"] >= 0.04
    assert found["left"]["places"] == 0 and 2 <= len(found["marks"]) <= 10


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_soak_that_is_stopped_prints_what_it_has(tmp_path: Path, number: signal.Signals) -> None:
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, toy_audio(WORDS), 16_000, subtype="FLOAT")
    command = [sys.executable, str(TOY), "bench", "soak", "--model", "toy", "--audio", str(speech), "--hours", "3"]
    ignore = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731, what a shell does for `command &`
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=ignore) as soak:
        assert soak.stdout is not None
        soak.stdout.readline()
        assert len(soak.stdout.readline().split()) == 10  # the first mark
        soak.send_signal(number)
        rest = soak.stdout.read()
    assert soak.returncode == 0
    assert "0 lost" in rest and "left behind: 0 files, 0 threads" in rest
