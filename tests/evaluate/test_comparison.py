"""Recipes that compare policies: what a model cannot run is left out and named, in the table too."""

from collections.abc import Callable
from pathlib import Path

import pytest

from simulst.eval.run.recipe import read_recipe
from simulst.policies import POLICIES

Run = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]
REFUSAL = (
    "Policy read_write needs session_tokens, which model toy does not provide; "  # who does depends on the weights
)


@pytest.mark.slow
def test_a_refused_policy_does_not_stop_the_others(run: Run, lists: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "compare.toml", tmp_path / "out"
    recipe.write_text(
        f'model = "toy"\n[data]\npath = "{lists}"\n[[runs]]\npolicy = "read_write"\n'
        '[[runs]]\npolicy = "wait_k"\nsweep = {k = [1, 5]}\n'
    )
    status, shown, errors = run("evaluate", recipe, "--output", out)
    assert status == 0
    assert [line for line in errors.splitlines() if line.startswith(f"note: read_write was left out: {REFUSAL}")]
    assert "wait_k-k=5" in shown
    assert sorted(path.name for path in out.iterdir()) == ["refused.tsv", "sweep.tsv", "wait_k-k=1", "wait_k-k=5"]
    status, _, _ = run("curve", *sorted(out.glob("*/")), "--output", tmp_path / "table.md", "--resamples", 20)
    assert status == 0
    table = (tmp_path / "table.md").read_text().splitlines()
    assert [line for line in table if line.startswith(f"Left out: {REFUSAL}")]
    assert [line.split(" | ")[1] for line in table if line.startswith("| `wait_k`")][:2] == ["k=1", "k=5"]


@pytest.mark.slow
def test_where_nothing_can_run_the_reason_is_the_error(run: Run, lists: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "compare.toml", tmp_path / "out"
    recipe.write_text(
        f'model = "toy"\npolicy = "read_write"\n[data]\npath = "{lists}"\n[sweep]\nlatency = ["low", "high"]\n'
    )
    status, shown, errors = run("evaluate", recipe, "--output", out)
    assert (status, shown) == (2, "")
    assert errors.splitlines()[-1].startswith(f"simulst: {REFUSAL}")


@pytest.mark.parametrize("name", ["policies-tiny.toml", "policies-whisper.toml"])
def test_the_recipes_of_the_documents_compare_all_policies(name: str, lists: Path, tmp_path: Path) -> None:
    text = (ROOT / "eval" / name).read_text(encoding="utf-8")
    recipe = tmp_path / name
    recipe.write_text(text.replace("../data/dev-en-de", str(lists)).replace("../data/dev-de-en", str(lists)))
    plans = read_recipe(recipe).plans
    settings: dict[str, set[str]] = {}
    for plan in plans:
        settings.setdefault(plan.policy, set()).add(plan.name)
        plan.spec()  # every setting is a legal one
    assert set(settings) == set(POLICIES)
    refused = (
        {"taf", "emma", "read_write", "gpe_wait_k", "infinite", "joint", "streamuni", "transducer"}
        if "whisper" in name
        else set()
    )
    assert all(len(names) >= 3 for policy, names in settings.items() if policy not in {"offline", *refused})
