"""The wheel does what a checkout does, from any folder: library, presets, pages, talk, corpus and recipes are in it."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILT = ("simulst/", "policies/", "examples/", "eval/")
FILES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")
CORPUS = "examples/corpus/en-de/data/tst-COMMON"
CLIP = str(ROOT / "tests" / "data" / "two_sentences_en.ogg")

pytestmark = pytest.mark.slow
Run = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what is tracked, so that nothing that only lies about gets into it."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked.stdout.decode().split("\0"):
        if name in FILES or (name.startswith(BUILT) and (ROOT / name).is_file()):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", ".", "./source"], cwd=folder, check=True)
    (built,) = folder.glob("simulst-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment that has the wheel, and the packages of this one but not its simulst."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    folders = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "zz_dependencies.pth").write_text(f"import sys; sys.path.extend({folders!r})\n")
    return home / "bin"


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """run(program, argument, ...) -> stdout of a command of the installed package, called in an empty folder."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def call(program: str, *arguments: str) -> str:
        command = [str(installed / program), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return call


def test_the_wheel_is_complete_and_clean(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {"simulst", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    recipes = {f"simulst/share/eval/{path.name}" for path in (ROOT / "eval").glob("*.toml")}
    talk = {f"simulst/share/examples/talk{suffix}" for suffix in (".flac", ".yaml", ".en.txt", ".de.txt")}
    presets = {f"simulst/policies/presets/{path.name}" for path in (ROOT / "policies").glob("*.toml")}
    assert {"simulst/py.typed", f"simulst/share/{CORPUS}/wav/talk_3.flac"} | recipes | talk | presets <= names
    assert not [name for name in names if "make_" in name.rsplit("/", 1)[1]]


def test_nothing_comes_from_the_checkout(run: Run, installed: Path) -> None:
    code = (
        "import simulst.bundled; from simulst.policies.loading import preset_folders; "
        "print(simulst.__file__, simulst.bundled.home(), *preset_folders(), sep='\\n')"
    )
    found = run("python", "-c", code).splitlines()
    assert len(found) == 3 and all(path.startswith(str(installed.parent)) for path in found)


def test_the_package_is_a_command_too(run: Run) -> None:
    assert run("python", "-m", "simulst", "--version") == run("simulst", "--version")


def test_demo(run: Run) -> None:
    out = run("simulst", "demo", "--policy", "wait_k")
    assert "talk.flac, English to German" in out and "StreamLAAL" in out


def test_translate(run: Run, tmp_path: Path) -> None:
    run("simulst", "translate", f"{CORPUS}/wav/talk_3.flac", "--policy", "wait_k-3", "-o", "talk.srt")
    assert (tmp_path / "talk.srt").read_text(encoding="utf-8").count(" --> ") > 5


def test_a_policy_of_the_examples(run: Run) -> None:
    assert len(run("simulst", "translate", CLIP, "--policy", "examples/my_policy.py:HoldSeconds").split()) > 8


def test_a_model_of_the_examples(run: Run) -> None:
    command = ("translate", CLIP, "--model", "examples/my_model.py:FAMILY", "--policy", "wait_k-3")
    words = run("simulst", *command).lower().split()
    assert len(words) > 8 and {"the", "and", "of", "to"} & set(words)


def test_evaluate_a_recipe_on_the_bundled_corpus(run: Run, tmp_path: Path) -> None:
    scores = json.loads(run("simulst", "evaluate", "eval/corpus.toml", "--limit", "1", "-o", "runs/one", "--json"))
    assert scores["BLEU"] > 10 and scores["StreamLAAL"] > 0
    assert (tmp_path / "runs" / "one" / "instances.log").is_file()


def test_evaluate_the_bundled_corpus(run: Run) -> None:
    options = ["--policy", "wait_k", "--limit", "1", "-o", "runs/one", "--json"]
    assert json.loads(run("simulst", "evaluate", CORPUS, *options))["LAAL"] > 0
    assert json.loads(run("simulst", "data", "check", CORPUS, "--json"))["items"] == 30
    texts = [f"--references={CORPUS}/txt/tst-COMMON.de", f"--segmentation={CORPUS}/txt/tst-COMMON.yaml"]
    run("simulst", "evaluate", CORPUS, "--long", "-o", "runs/long", "--no-score")
    assert json.loads(run("simulst", "score", "runs/long/instances.log", *texts, "--json"))["StreamLAAL"] > 0


def test_bench_stream(run: Run) -> None:
    found = json.loads(run("simulst", "bench", "stream", "--batch", "2", "--seconds", "6", "--json"))
    assert found["streams"] == found["same_text"] == 2 and found["ratio"] > 0


def test_bench_live(run: Run, tmp_path: Path) -> None:
    """Beside a file that would hide a module of Python's from the server and from the clients."""
    (tmp_path / "wave.py").write_text("raise SystemExit('not this one')\n")
    (tmp_path / "statistics.py").write_text("raise SystemExit('not this one')\n")
    found = json.loads(run("simulst", "bench", "live", "--clients", "1", "--seconds", "10", "--json"))
    assert found["clients"]["1"]["words_lost"] == 0 and found["clients"]["1"]["words"] > 0
