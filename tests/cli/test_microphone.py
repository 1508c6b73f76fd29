"""README's line that records with `arecord`, as it stands there: only the device behind it is a file."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

ROOT = Path(__file__).parents[2]
DEVICE = 'pcm.!default {{ type file; slave.pcm null; file "/dev/null"; infile "{}"; format raw }}\n'
"""What ALSA takes for the microphone: the file, and silence after it, as fast as it is read."""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder with 5.5 s of the talk and as much silence as raw samples, a recorder that reads them, and `simulst`."""
    samples, rate = soundfile.read(ROOT / "examples" / "talk.flac", dtype="int16", frames=88_000)
    assert rate == 16_000
    (tmp_path / "spoken.raw").write_bytes(np.concatenate([samples, np.zeros_like(samples)]).astype("<i2").tobytes())
    (tmp_path / ".asoundrc").write_text(DEVICE.format(tmp_path / "spoken.raw"))
    (tmp_path / "simulst").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m simulst "$@"\n')
    (tmp_path / "simulst").chmod(0o755)
    return tmp_path


def stop_recorder(shell: psutil.Process, infile: Path) -> None:
    """End `arecord` once it has read the whole file, as whoever unplugs a microphone."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        for process in shell.children(recursive=True):
            if process.name() == "arecord":
                places = [file.position for file in process.open_files() if file.path == str(infile)]
                if places and places[0] >= infile.stat().st_size:
                    process.terminate()
                    return
        time.sleep(0.02)
    pytest.fail("arecord has not read its file")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("arecord"), reason="needs arecord of alsa-utils")
def test_the_line_of_the_readme_translates_what_is_recorded(room: Path) -> None:
    found = re.search(r"^(arecord .*\| simulst translate -) ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert found
    environment = {**os.environ, "HOME": str(room), "PATH": f"{room}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    with (room / "spoken.raw").open("rb") as spoken:
        expected = subprocess.run(
            ["simulst", "translate", "-"], stdin=spoken, capture_output=True, text=True, env=environment, timeout=300
        )
    assert expected.returncode == 0 and len(expected.stdout.split()) >= 12, expected.stderr
    with subprocess.Popen(
        ["sh", "-c", found[1]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        stop_recorder(psutil.Process(process.pid), room / "spoken.raw")
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Traceback" not in err and "simulst:" not in err
    words, heard = (Counter(re.findall(r"\w+", text.lower())) for text in (expected.stdout, out))
    assert (words & heard).total() >= 0.9 * words.total(), (expected.stdout, out)
