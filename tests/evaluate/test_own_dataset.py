"""`--dataset file.py:Class`: a kind of test set that is not simulst's is checked and evaluated like the others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from simulst.eval.data import open_dataset
from simulst.eval.data.kinds import DATASETS, dataset_kind
from simulst.eval.run.recipe import read_recipe
from simulst.testing import toy_audio, toy_text

from .conftest import sentences

Run = Callable[..., tuple[int, str, str]]
FILE = Path(__file__).parents[2] / "examples" / "my_dataset.py"
EXAMPLE = f"{FILE}:CoVoST"
HEAD = "from simulst.eval.data import Dataset, DatasetKind, Item\n"
CLASS = (
    "class Mine(DatasetKind):\n    def matches(self, place): return True\n    def read(self, place, *, long, lang): "
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three clips as CoVoST 2 has them."""
    (tmp_path / "clips").mkdir()
    lines = ["path\tsentence\ttranslation\tclient_id\n"]
    for number, words in enumerate(sentences(3)):
        soundfile.write(tmp_path / "clips" / f"{number}.wav", toy_audio(words), 16_000, subtype="FLOAT")
        lines.append(f'{number}.wav\t{" ".join(map(str, words))} "\t{toy_text(words)}\tx\n')
    path = tmp_path / "covost_v2.en_de.dev.tsv"
    path.write_text("".join(lines))
    return path


def test_the_example_is_checked(run: Run, table: Path) -> None:
    status, out, _ = run("data", "check", table, "--dataset", EXAMPLE)
    assert (status, out.split(",")[0], out.strip()[-5:]) == (0, f"{table.stem}: 3 items of 3 recordings", "to de")


@pytest.mark.slow
def test_the_example_is_evaluated_by_several_processes(run: Run, table: Path, tmp_path: Path) -> None:
    args = ("--dataset", EXAMPLE, "--model", "toy", "--policy", "offline", "--workers", 2, "-o", tmp_path / "run")
    status, out, err = run("evaluate", table, *args, "--json")
    assert status == 0, err
    assert json.loads(out)["BLEU"] == pytest.approx(100)
    assert len((tmp_path / "run" / "instances.log").read_text().splitlines()) == 3


def test_a_missing_clip_is_named_and_left_out_on_purpose(run: Run, table: Path, tmp_path: Path) -> None:
    (table.parent / "clips" / "1.wav").unlink()
    status, out, _ = run("data", "check", table, "--dataset", EXAMPLE)
    assert status == 2 and f"error: {table.name}, line 3: " in out
    args = ("--dataset", EXAMPLE, "--model", "toy", "--policy", "offline", "-o", tmp_path / "run")
    status, _, err = run("evaluate", table, *args)
    assert status == 2 and "leave such items out with --skip-bad" in err
    assert run("evaluate", table, *args, "--skip-bad")[0] == 0


def test_a_recipe_names_a_kind(table: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE.read_text())
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[data]\npath = "{table.name}"\nkind = "mine.py:CoVoST"\n')
    assert len(read_recipe(recipe).dataset.items) == 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("Mine = 3", "{spec} is not a kind of test set: Mine must extend simulst.eval.data.DatasetKind."),
        ("1 / 0", "The dataset file {file} fails: ZeroDivisionError: division by zero"),
        ("class Mine(DatasetKind): pass", "{spec} cannot be used: TypeError: Can't instantiate abstract class Mine"),
        (CLASS + "return 1 / 0", "The kind of test set {spec} fails on {table}: ZeroDivisionError: division by zero"),
        (CLASS + "return [1]", "The kind of test set {spec} gives list, not a simulst.eval.data.Dataset."),
        (
            CLASS + "return Dataset(name='x', path=place, form='short', items=())",
            "The kind of test set {spec} finds no items in {table}.",
        ),
        (
            CLASS + "return Dataset(name='x', path=place, form='short', items=(Item(index=1, audio=place, name='a'),))",
            "The kind of test set {spec} must number its items 0, 1, 2 and so on, in `index`.",
        ),
    ],
)
def test_what_can_be_wrong_in_it(run: Run, table: Path, tmp_path: Path, body: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + body + "\n")
    spec = f"{file}:Mine"
    status, out, err = run("data", "check", table, "--dataset", spec)
    assert (status, out) == (2, "") and len(err.strip().splitlines()) == 1
    assert message.format(spec=spec, file=file, table=table) in err


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("iwslt", "Unknown kind of test set 'iwslt'; known: mustc, lists, hub, lhotse, manifest, or file.py:Class."),
        ("no.py:X", "There is no dataset file no.py."),
    ],
)
def test_what_names_no_kind(run: Run, lists: Path, spec: str, message: str) -> None:
    status, _, err = run("data", "check", lists, "--dataset", spec)
    assert status == 2 and message in err


def test_every_line_of_the_table_names_a_kind(lists: Path, mustc: Path) -> None:
    assert [name for name in DATASETS if dataset_kind(name).matches(lists)] == ["lists"]
    assert [name for name in DATASETS if dataset_kind(name).matches(mustc)] == ["mustc"]
    assert open_dataset(lists, kind="lists").fingerprint == open_dataset(lists).fingerprint
