"""The suite in the background of a shell, where SIGINT is ignored, as on a machine that builds it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_ctrl_c_reaches_what_tests_start() -> None:
    test = "tests/cli/test_translate.py::test_interruption_flushes_what_is_committed"
    evaluate = "tests/evaluate/test_evaluate.py::test_ctrl_c_keeps_what_is_done"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test, evaluate]
    script = 'trap "" INT; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command], cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
