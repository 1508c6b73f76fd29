"""What the documents promise exists."""

import re
from pathlib import Path

import pytest

from simulst.cli import COMMANDS
from simulst.policies import POLICIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_readme_lists_every_policy_and_no_other() -> None:
    table = README.split("## Policies")[1].split("## Where")[0]
    assert re.findall(r"^\| `(\w+)`", table, flags=re.M) == list(POLICIES)


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
