"""The whole way with real models: browser, page, server process, file."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import soxr

ROOT = Path(__file__).parents[3]
Launch = Callable[[Path, Path, str], Any]
pytestmark = pytest.mark.slow
MODEL = os.environ.get("SIMULST_LIVE_MODEL", "tiny-en-de")
"""What the test with real speech loads: a name or a directory."""


@pytest.mark.skipif(
    not (Path(MODEL).is_dir() or (ROOT / "simulst" / "models" / MODEL / "model.safetensors").is_file()),
    reason="the embedded model is not there",
)
def test_english_speech_becomes_german_subtitles(launch: Launch, tmp_path: Path) -> None:
    """The whole way: microphone, page, server process, embedded model, exported file."""
    samples, rate = soundfile.read(ROOT / "examples" / "talk.flac", dtype="float32", frames=24 * 16_000)
    heard = tmp_path / "heard.wav"
    soundfile.write(heard, soxr.resample(samples, rate, 48_000), 48_000, subtype="PCM_16")
    command = [sys.executable, "-m", "simulst.cli", "live", "--port", "0", "--model", MODEL]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        page = launch(tmp_path, heard, server.stdout.readline().split()[3])
        page.find("#toggle").click()
        page.wait(lambda: len(page.text.split()) >= 30, 60)
        page.shoot("talk")
        page.find("#toggle").click()
        page.wait(lambda: page.status == "Ready", 60)
        words = set(re.findall(r"\w+", page.text.lower()))
        assert len(words & {"ich", "der", "die", "das", "er", "und", "ist", "in", "zu", "sehr", "haus", "mein"}) >= 4
        page.js("arguments[0].click()", page.find("button[data-format=srt]"))
        page.wait(lambda: list(tmp_path.glob("*.srt")))
        srt = next(tmp_path.glob("*.srt")).read_text()
        spoken = [line for line in srt.splitlines() if line and "-->" not in line and not line.isdigit()]
        assert " ".join(spoken).split() == page.text.split()
        page.quiet()
    finally:
        server.terminate()
        server.wait(30)


WHISPER = Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser() / "whisper-base"


@pytest.mark.real
@pytest.mark.skipif(not WHISPER.is_dir(), reason="whisper-base is not there")
def test_whisper_is_served_to_the_page_however_slow_the_machine(launch: Launch, tmp_path: Path) -> None:
    """With an idle limit far below the time of some of its steps: a file as fast as it goes, never cut off."""
    samples, rate = soundfile.read(ROOT / "examples" / "talk.flac", dtype="float32", frames=16 * 16_000)
    soundfile.write(tmp_path / "talk.wav", samples, rate, subtype="PCM_16")
    command = [sys.executable, "-m", "simulst.cli", "live", "--port", "0", "--model", str(WHISPER), "--idle-s", "16"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        page = launch(tmp_path, tmp_path / "talk.wav", server.stdout.readline().split()[3])
        page.translate_file(tmp_path / "talk.wav")
        page.wait(lambda: page.status == "Ready" and page.text, 300)
        assert page.find("#alert").text == ""
        page.shoot("whisper")
        for shown in (page.text, page.find("#transcript").get_attribute("textContent")):
            words = re.findall(r"\w+", shown.lower())
            assert {"grandfather", "house", "river"} <= set(words)
            assert not [one for one, other in itertools.pairwise(words) if one == other]
        page.quiet()
    finally:
        server.terminate()
        server.wait(60)
