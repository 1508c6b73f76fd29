"""`simulst bench targets`: the numbers it prints."""

import json
import subprocess
import sys

import pytest

import simulst.cli


@pytest.mark.slow
def test_two_targets_say_the_same_as_one_each() -> None:
    command = [sys.executable, "-m", "simulst", "bench", "targets", "--rounds", "2", "--seconds", "4", "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert (found["targets"], found["rounds"], found["same_text"]) == ("de,en", 2, True)
    assert found["cpu_s"]["one"] > 0 and 1.0 < found["ratio"] < 2.0


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--device", "cuda:99"), "Device 'cuda:99' is not available"),
        (("--dtype", "float17"), "Unknown dtype 'float17'"),
    ],
)
def test_where_it_runs_can_be_said(option: tuple[str, str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulst.cli.run(["bench", "targets", *option]) == 2
    assert sentence in capsys.readouterr().err
