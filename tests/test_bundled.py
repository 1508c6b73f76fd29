"""What comes with simulst is found from any folder, and never in place of a file that is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulst.audio import open_file
from simulst.bundled import bundled, home, talk
from simulst.cli import run

CORPUS = "examples/corpus/en-de/data/tst-COMMON"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_that_are_there_come_first(elsewhere: Path) -> None:
    own = elsewhere / "examples" / "talk.flac"
    assert bundled("examples/talk.flac") == str(talk()) and talk().is_file()
    own.parent.mkdir()
    own.touch()
    assert bundled("examples/talk.flac") == "examples/talk.flac"
    assert bundled("eval/corpus.toml") == str(home() / "eval" / "corpus.toml")


@pytest.mark.parametrize(
    "name", ["-", "mic", "https://a.org//examples/talk.flac", "talk.flac", "examples/no.flac", "simulst/errors.py"]
)
def test_other_names_stay_as_they_are(name: str, elsewhere: Path) -> None:
    assert bundled(name) == name


def test_the_talk_is_two_minutes() -> None:
    with open_file(talk()) as stream:
        assert stream.duration_s is not None and 120 < stream.duration_s < 130


def test_commands_find_the_corpus_from_any_folder(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", CORPUS, "--long"]) == 0
    assert "3 items of 3 recordings" in capsys.readouterr().out
    assert run(["data", "check", f"{CORPUS}/none"]) == 2
    assert capsys.readouterr().err.startswith(f"simulst: {CORPUS}/none does not exist")


def test_the_package_is_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "simulst", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("simulst ")


@pytest.mark.parametrize("what", ["from simulst.agents import LazySpeech", "import simulst.agents.speech"])
def test_agents_without_simuleval_say_how_to_get_it(what: str, tmp_path: Path) -> None:
    (tmp_path / "simuleval.py").write_text("raise ModuleNotFoundError('no', name='simuleval')\n")
    code = f"import simulst.agents\ntry:\n    {what}\nexcept ImportError as error:\n    print(error)"
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.stdout == (
        "The agents need SimulEval, and simuleval is not installed: `pip install --no-deps simuleval==1.1.4`, then "
        "`pip install pandas requests textgrid tornado` (docs/simuleval.md).\n"
    ), done.stderr
