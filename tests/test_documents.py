"""What the documents promise exists."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from simulst.cli import COMMANDS, app
from simulst.policies import POLICIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_readme_lists_every_policy_and_no_other() -> None:
    table = README.split("## Policies")[1].split("## Where")[0]
    assert re.findall(r"^\| `(\w+)`", table, flags=re.M) == list(POLICIES)


def test_the_map_of_the_readme_names_every_folder_and_room() -> None:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    paths = [path.split("/") for path in found.stdout.splitlines()]
    if not paths:
        pytest.skip("not a git checkout")
    table = README.split("## Where things are")[1]
    assert set(re.findall(r"^\| `(\S+)/`", table, flags=re.M)) == {path[0] for path in paths if len(path) > 1}
    rooms = {path[1] for path in paths if path[0] == "simulst" and len(path) > 2}
    assert set(re.findall(r"`(\w+)`", table.split("| `simulst/` |")[1].split("\n")[0])) == rooms


@pytest.mark.parametrize("policy", POLICIES)
def test_the_page_of_policies_has_a_row_and_a_section_for_each(policy: str) -> None:
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    assert f"\n## `{policy}`\n" in page
    assert f"\n| `{policy}` |" in page.split("## Requirements")[1].split("\n## ")[0]


def test_the_index_links_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [
        page.name for page in ROOT.glob("docs/*.md") if f"({page.name})" not in index and page.name != "index.md"
    ] == []


def test_the_readme_shows_commands_that_exist() -> None:
    code = "\n".join(README.split("```")[1::2])
    shown = set(re.findall(r"^(?:.*\| )?simulst (\w+)", code, flags=re.M))
    assert {"translate", "policies", "models"} <= shown <= set(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_folders_of_plug_ins_hold_no_package() -> None:
    assert not [path for name in ("policies", "agents", "eval") for path in (ROOT / name).glob("__init__.py")]


def shown_commands(document: Path) -> list[str]:
    """Lines of code blocks that call simulst, torchrun or simuleval; continued lines joined, comments cut off."""
    code = "\n".join(document.read_text(encoding="utf-8").split("```")[1::2]).replace("\\\n", " ")
    lines = (re.sub(r"^\$ ", "", line) for line in code.splitlines())
    return [line.split(" #")[0] for line in lines if re.match(r"(simulst|simuleval|torchrun) ", line)]


def options_of(words: list[str]) -> set[str]:
    """Long and short options of the command of simulst that these words begin with."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "resolve_command"):
        context = command.make_context("simulst", ["--help"], resilient_parsing=True)
        _, command, words = command.resolve_command(context, words)
    return {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_shown_commands_have_options_that_exist(document: Path) -> None:
    for line in shown_commands(document):
        call = re.search(r"simulst (.*)", line.split(" | ")[0])
        if call is None or line.startswith("simuleval"):
            continue
        given = set(re.findall(r"(?<=\s)--?[a-z][\w-]*", call[1]))
        assert given <= options_of(call[1].split()), line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_shown_files_of_the_project_exist(document: Path) -> None:
    for line in shown_commands(document):
        for path in re.findall(r"(?:^|\s)((?:eval|agents|policies|examples)/[\w./-]+)", line):
            assert (ROOT / path).exists(), line


def test_the_page_on_simuleval_lists_every_agent() -> None:
    from simulst.agents import agent_names

    text = (ROOT / "docs" / "simuleval.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)\.py` \| `(\w+)`", text, flags=re.M))
    assert set(rows) == {path.stem for path in (ROOT / "agents").glob("*.py")}
    assert set(rows.values()) == set(agent_names())
    for file, name in rows.items():
        assert name in (ROOT / "agents" / f"{file}.py").read_text(encoding="utf-8")


def test_the_table_of_evaluations_has_every_policy() -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    table = text.split("<!-- simulst curve -->")[1].split("<!-- /simulst curve -->")[0]
    rows = set(re.findall(r"^\| `(\w+)`", table, flags=re.M))
    left_out = set(re.findall(r"^Left out: Policy (\w+) ", table, flags=re.M))
    assert rows | left_out == set(POLICIES) and not rows & left_out
