"""The scripts of examples/ answer a mistake as the command line does: one sentence, exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "simulst" / "models" / "tiny-en-de")


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        (
            "make_dev",
            ["none.tsv", "--output", "dev"],
            "none.tsv does not exist; name a tab-separated file of sentences",
        ),
        (
            "make_dev",
            ["pairs.tsv", "--output", "dev", "--voices", "nobody"],
            "Unknown voice 'nobody'; known: pico-en-US",
        ),
        ("make_distilled", ["none.toml", "out.tsv", "--model", MODEL], "The recipe none.toml cannot be read"),
        ("make_text_weights", [MODEL, "none.pt"], "none.pt is not a checkpoint of training"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, script: str, arguments: list[str], sentence: str) -> None:
    (tmp_path / "pairs.tsv").write_text("".join(f"Number {k}.\tNummer {k}.\n" for k in range(200)))
    command = [sys.executable, str(ROOT / "examples" / f"{script}.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"simulst: {sentence}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out.tsv").exists()
