"""SimulEval, where it is: in this interpreter, or in the one that SIMULST_SIMULEVAL names (docs/simuleval.md)."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from simulst.testing import toy_audio, toy_text

HERE = Path(__file__).parent
AGENTS = HERE.parents[1] / "agents"
Log = list[dict[str, Any]]


@pytest.fixture(scope="session")
def python() -> str:
    """An interpreter that has both packages."""
    named = os.environ.get("SIMULST_SIMULEVAL")
    if named:
        return named
    if importlib.util.find_spec("simuleval") is None:
        pytest.skip("simuleval is not installed here; SIMULST_SIMULEVAL can name an interpreter that has it")
    return sys.executable


@pytest.fixture(scope="session")
def simuleval(python: str) -> Callable[[Sequence[Sequence[str]]], None]:
    """simuleval([arguments, ...]): calls of SimulEval's own command line, with the toy model, in one process."""

    def call(jobs: Sequence[Sequence[str]]) -> None:
        common = ["--user-dir", str(HERE / "toy_models"), "--no-progress-bar"]
        given = json.dumps([[*common, *map(str, job)] for job in jobs])
        done = subprocess.run([python, HERE / "call_simuleval.py"], input=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]

    return call


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists of four recordings; one ends with a chunk, one in the middle of a word."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(3)
    said = [[int(word) for word in rng.integers(0, 61, count)] for count in (3, 10, 21, 34)]
    for number, words in enumerate(said):
        samples = toy_audio(words)[: -1777 if number == 2 else None]
        soundfile.write(folder / f"{number}.wav", samples, 16_000, subtype="FLOAT")
    (folder / "source.txt").write_text("".join(f"{folder}/{number}.wav\n" for number in range(4)))
    (folder / "target.txt").write_text("".join(f"{toy_text(words)}\n" for words in said))
    return folder


@pytest.fixture(scope="session")
def read_log() -> Callable[[Path], Log]:
    return lambda folder: [json.loads(line) for line in (folder / "instances.log").read_text().splitlines()]
