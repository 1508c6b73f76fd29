"""A policy, model family, metric, output format or kind of test set is one file and one line: added to a copy of the
package, and used from there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = ROOT / "tests" / "eval" / "fixtures" / "short_de" / "instances.log"
CLIP = ROOT / "tests" / "data" / "two_sentences_en.ogg"

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The package as links to its files."""
    shutil.copytree(ROOT / "simulst", tmp_path / "copy" / "simulst", copy_function=os.symlink)
    return tmp_path / "copy"


def add(package: Path, file: str, source: Path, table: str, name: str, line: str) -> None:
    """One file, and one line in the dict `name` of the module `table`."""
    shutil.copyfile(source, package / file)
    module = package / table
    text = module.read_text(encoding="utf-8")
    head, start, rest = text.partition(f"{name}: dict[str, str] = {{\n")
    assert start
    module.unlink()  # a link
    module.write_text(f"{head}{start}    {line},\n{rest}", encoding="utf-8")


SEVERAL = """
import json, sys
from simulst.cli import run
statuses = []
for command in json.loads(sys.argv[1]):
    statuses.append(run(command))
    print("=" * 9)
sys.exit(max(statuses))
"""


def simulst(copied: Path, *commands: Sequence[object]) -> list[str]:
    """What each command prints, one after the other in one process, whose start takes longest."""
    given = json.dumps([[str(arg) for arg in command] for command in commands])
    env = {**os.environ, "PYTHONPATH": str(copied)}
    done = subprocess.run([sys.executable, "-c", SEVERAL, given], cwd=copied, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("=" * 9 + "\n")[:-1]


def test_a_metric(copied: Path, tmp_path: Path) -> None:
    module = "simulst/eval/metrics/longest_wait.py"
    line = '"LongestWait": "simulst.eval.metrics.longest_wait:LONGEST_WAIT"'
    add(copied, module, ROOT / "examples" / "my_metric.py", "simulst/eval/metrics/__init__.py", "METRICS", line)
    out = tmp_path / "run"
    simulst(copied, ["score", RUN, "-o", out], ["report", out])
    scores = json.loads((out / "scores.json").read_text())
    assert {"LongestWait", "LongestWait_CA", "BLEU"} <= scores.keys()
    assert "longest wait without a new word" in (out / "report.html").read_text(encoding="utf-8")


def test_a_kind_of_test_set(copied: Path, tmp_path: Path) -> None:
    line = '"covost": "simulst.eval.data.covost:CoVoST"'
    source = ROOT / "examples" / "my_dataset.py"
    add(copied, "simulst/eval/data/covost.py", source, "simulst/eval/data/kinds.py", "DATASETS", line)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.ogg").symlink_to(CLIP)
    table = tmp_path / "covost_v2.en_de.dev.tsv"
    table.write_text("path\tsentence\ttranslation\na.ogg\tGood morning.\tGuten Morgen.\n")
    assert "1 items of 1 recordings" in simulst(copied, ["data", "check", table])[0]


def test_a_policy(copied: Path) -> None:
    line = '"hold_seconds": "simulst.policies.hold_seconds:HoldSeconds"'
    source = ROOT / "examples" / "my_policy.py"
    add(copied, "simulst/policies/hold_seconds.py", source, "simulst/policies/names.py", "POLICIES", line)
    translate = ["translate", CLIP, "--policy", "hold_seconds", "--set", "seconds=0.5"]
    described, said = simulst(copied, ["policies", "hold_seconds"], translate)
    assert "how old the audio of a word must be" in described and said.strip()


def test_a_model_family(copied: Path, tmp_path: Path) -> None:
    line = '"ctc": "simulst.models.ctc:FAMILY"'
    source = ROOT / "examples" / "my_model.py"
    add(copied, "simulst/models/ctc.py", source, "simulst/models/registry.py", "FAMILIES", line)
    model = tmp_path / "recogniser"
    model.mkdir()
    (model / "simulst.json").write_text('{"type": "ctc"}')
    translate = ["translate", CLIP, "--model", model, "--policy", "wait_k"]
    described, said = simulst(copied, ["models", model], translate)
    assert "the speech LLM that lends its encoder" in described and said.strip()


def test_an_output_format(copied: Path, tmp_path: Path) -> None:
    line = '"lrc": "simulst.sinks.lrc:Sink"'
    add(copied, "simulst/sinks/lrc.py", ROOT / "examples" / "my_sink.py", "simulst/sinks/formats.py", "SINKS", line)
    simulst(copied, ["translate", CLIP, "--format", "lrc", "--output", tmp_path / "clip.lrc"])
    assert re.match(r"\[\d\d:\d\d\.\d\d\]\w", (tmp_path / "clip.lrc").read_text(encoding="utf-8"))
