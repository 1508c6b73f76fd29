"""Recipes: what they may say, what they become, and the sentence for what they may not say."""

from pathlib import Path

import pytest

from simulst.errors import DataError, PolicyError
from simulst.eval.data import open_dataset
from simulst.eval.run.recipe import read_recipe

RECIPES = sorted(path for path in (Path(__file__).parents[2] / "eval").glob("*.toml") if path.stem != "tune")


@pytest.fixture
def recipe(mustc: Path, tmp_path: Path) -> Path:
    return tmp_path / "recipe.toml"


def data(path: Path, extra: str = "") -> str:
    return f'[data]\npath = "{path}"\n{extra}\n'


def test_one_run(recipe: Path, mustc: Path) -> None:
    recipe.write_text(
        'model = "toy"\npolicy = "stream_att-f4"\nchunk_ms = 320\nseed = 7\n'
        f"{data(mustc, 'long = true')}[parameters]\nmedian = 3\n[history]\nwords = 9\n[score]\nprofile = 'omnisteval'\n"
    )
    found = read_recipe(recipe)
    (plan,) = found.plans
    spec = plan.spec()
    assert (spec.model, spec.policy.name, spec.policy.chunk_ms, spec.seed) == ("toy", "stream_att-f4", 320, 7)
    assert (spec.policy.policy.f, spec.policy.policy.median, spec.policy.history.words) == (4, 3, 9)  # type: ignore[attr-defined]
    assert found.dataset.form == "long"
    assert found.scoring == {"profile": "omnisteval"}


def test_sweeps_multiply_and_are_named(recipe: Path, mustc: Path) -> None:
    recipe.write_text(f'policy = "wait_k"\n{data(mustc)}[sweep]\nk = [3, 5]\nchunk_ms = [320, 640]\n')
    plans = read_recipe(recipe).plans
    assert [plan.name for plan in plans] == [f"wait_k-k={k},chunk_ms={ms}" for k in (3, 5) for ms in (320, 640)]
    assert [plan.spec().policy.policy.k for plan in plans] == [3, 3, 5, 5]  # type: ignore[attr-defined]
    assert plans[3].spec().policy.chunk_ms == 640


def test_several_runs_have_their_own_parameters(recipe: Path, mustc: Path) -> None:
    recipe.write_text(
        f'model = "toy"\npolicy = "wait_k"\n{data(mustc)}[parameters]\nk = 4\n'
        '[[runs]]\n[[runs]]\nparameters = {k = 6}\n[[runs]]\npolicy = "stream_att"\nsweep = {f = [2, 8]}\n'
        '[[runs]]\npolicy = "wait_k"\n'
    )
    plans = read_recipe(recipe).plans
    assert [plan.name for plan in plans] == ["wait_k", "wait_k-2", "stream_att-f=2", "stream_att-f=8", "wait_k-3"]
    assert [plan.parameters for plan in plans] == [{"k": 4}, {"k": 6}, {"f": 2}, {"f": 8}, {"k": 4}]
    assert {plan.model for plan in plans} == {"toy"}


def test_policies_and_options_can_be_swept(recipe: Path, mustc: Path) -> None:
    recipe.write_text(f'{data(mustc)}[sweep]\npolicy = ["greedy", "offline"]\n"options.beams" = [1, 4]\n')
    plans = read_recipe(recipe).plans
    assert [(plan.policy, plan.options["beams"]) for plan in plans] == [
        ("greedy", 1),
        ("greedy", 4),
        ("offline", 1),
        ("offline", 4),
    ]
    assert plans[1].name == "greedy-options.beams=4"


def test_paths_are_meant_from_the_recipe(recipe: Path, mustc: Path) -> None:
    recipe.write_text(data(mustc.relative_to(recipe.parent), "limit = 2"))
    assert [item.index for item in read_recipe(recipe).dataset.items] == [0, 1]


def test_lists_with_a_segmentation(recipe: Path, mustc: Path) -> None:
    (recipe.parent / "talks.txt").write_text("".join(f"{mustc}/wav/ted_{i}.wav\n" for i in (0, 1)))
    txt = mustc / "txt"
    recipe.write_text(
        f'[data]\nsource = "talks.txt"\nsegmentation = "{txt}/tst.yaml"\nreferences = "{txt}/tst.de"\nlang = "de"\n'
    )
    dataset = read_recipe(recipe).dataset
    assert (dataset.form, len(dataset.items), len(dataset.segments or ())) == ("long", 2, 6)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("polcy = 'x'", "recipe.toml: unknown key 'polcy'; known: name, model, policy, chunk_ms"),
        ("[data]\npth = 'x'", "recipe.toml: unknown key 'data.pth'; known: path, source"),
        ("[score]\nmetric = 'x'", "recipe.toml: unknown key 'metric' in [score]; known: lang, profile"),
        ("[[runs]]\npolicies = 1", "recipe.toml, [[runs]] number 1: unknown key 'policies'"),
        ("runs = 3", "recipe.toml: `runs` must be tables, each opened with [[runs]]."),
        ("[sweep]\nk = 3", "recipe.toml: [sweep] k must be a list of values, but is 3."),
        ("chunk_ms = 'long'", "recipe.toml: chunk_ms must be a whole number or none, not 'long'."),
        ("unit = 'word2'", "recipe.toml: unit is 'word2'; it must be word or char."),
        ("data = 3", "recipe.toml: `data` must be a table, opened with [data]."),
        ("[[runs]]\noptions = 3", "recipe.toml, [[runs]] number 1: `options` must be a table, opened with [options]."),
        ("options = 3\n[[runs]]", "recipe.toml, [[runs]] number 1: `options` must be a table, opened with [options]."),
        ("", "recipe.toml: [data] needs either `path`, a test set, or `source` and `target`, two lists."),
        ("[data]\npath = 'x'\nlimit = 0", "recipe.toml: data.limit is 0; it must be at least 1."),
        ("[data]\npath = 'x'\nlong = 1", "recipe.toml: data.long must be true or false, not 1."),
        ("[data]\npath = 'x'", "x does not exist: give a MuST-C split"),
    ],
)
def test_refusals(recipe: Path, text: str, sentence: str) -> None:
    recipe.write_text(text)
    with pytest.raises(DataError) as error:
        read_recipe(recipe)
    assert str(error.value).startswith(sentence)


def test_a_policys_complaint_names_the_recipe(recipe: Path, lists: Path) -> None:
    recipe.write_text(f'policy = "wait_k"\n{data(lists)}[[runs]]\n[[runs]]\n[runs.parameters]\nkk = 9\n')
    found = read_recipe(recipe)
    with pytest.raises(PolicyError, match=rf"^{recipe.name}, \[\[runs\]\] number 2: wait_k: unknown parameter 'kk'"):
        found.plans[1].spec()


def test_files_that_are_no_recipe(recipe: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: no such file or directory"):
        read_recipe(recipe)
    recipe.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not TOML"):
        read_recipe(recipe)
    recipe.write_text("a = ")
    with pytest.raises(DataError, match="is not TOML"):
        read_recipe(recipe)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_bundled_recipes_are_readable(path: Path, mustc: Path) -> None:
    bundled = "examples/corpus" in path.read_text()
    recipe = read_recipe(path, None if bundled else open_dataset(mustc))
    assert recipe.dataset.problems == ()
    for plan in recipe.plans:
        plan.spec()


def test_a_recipe_takes_another_test_set(recipe: Path, mustc: Path) -> None:
    from simulst.cli.evaluate import _recipe

    recipe.write_text(f'policy = "wait_k"\n{data(mustc)}[parameters]\nk = 9\n')
    found = _recipe(recipe, mustc, long=True, lang="", limit=1)
    assert (found.dataset.form, len(found.dataset.items), found.plans[0].parameters) == ("long", 1, {"k": 9})
    with pytest.raises(DataError, match=r"^A recipe says `long`, `lang` and `kind` itself, in \[data\]\."):
        _recipe(recipe, None, long=True, lang="", limit=None)
    with pytest.raises(DataError, match=r"^--data is for recipes; name the test set itself instead\."):
        _recipe(mustc, mustc, long=False, lang="", limit=None)
