"""The command table: cheap to list, lazy to load, kind about what is missing."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import simulst.cli
from simulst.cli import COMMANDS, run


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "simulst.cli", "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    assert "translate" in done.stdout
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"torch", "transformers", "fairseq2", "numpy", "matplotlib", "numba", "av", "soundfile"}


def test_help_lists_every_command_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    shown = capsys.readouterr().out
    for name in ("translate", "policies", "models"):
        assert f"  {name}" in shown
        assert COMMANDS[name][1] in shown


def test_a_command_without_its_module_is_unknown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "fly", ("simulst.cli.flying:fly", "Not there."))
    assert run(["--help"]) == 0
    assert "fly" not in capsys.readouterr().out
    assert run(["fly"]) == 2
    assert capsys.readouterr().err == "simulst: No such command 'fly'; `simulst --help` lists what there is.\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_commands_explain_themselves(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["translate", flag]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: simulst translate [OPTIONS] ")
    assert "--policy" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"simulst {simulst.__version__}\n"


@pytest.mark.slow
def test_policies_and_models_know_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policies", "--json"]) == 0
    policies = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert run(["models", "--json"]) == 0
    models = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert {"offline", "wait_k", "align_att", "stream_att"} <= set(policies)
    assert "alignment" in policies["stream_att"]["requires"]
    assert [p["name"] for p in policies["wait_k"]["parameters"]][:2] == ["k", "words"]
    for policy in policies.values():
        assert policy["models"] == [name for name, one in models.items() if policy["name"] in one["policies"]]
        for name in policy["models"]:
            assert set(policy["requires"]) <= set(models[name]["provides"])


def test_one_policy_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policies", "wait_k"]) == 0
    shown = capsys.readouterr().out
    assert "source words to stay behind" in shown
    assert "1810.08398" in shown
    assert run(["policies", "nope"]) == 2


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\u202etxt", "x" * 100_000])
def test_names_that_would_spoil_the_terminal_are_shown_escaped_and_shortened(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["translate", "a.wav", "--policy", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("simulst: ") and line.isprintable() and len(line) < 10_000


@pytest.mark.parametrize("text", ["\0", "a = " + "[" * 5_000])
def test_a_preset_that_is_no_toml_is_named_in_a_whole_sentence(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = tmp_path / "my.toml"
    preset.write_text(text)
    assert run(["translate", "a.wav", "--policy", str(preset)]) == 2
    assert re.fullmatch(r"simulst: The preset .*my.toml cannot be read: .*[^.]\.\n", capsys.readouterr().err)


def test_every_family_is_listed_with_what_it_provides_and_a_model_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    from simulst.models import FAMILIES, describe_families

    assert run(["models"]) == 0
    out = capsys.readouterr().out
    families = describe_families()
    assert {kind for one in families for kind in one.kinds} == set(FAMILIES)
    for one in families:
        assert one.hub and one.hub in out and f"{one.name}  family of models" in out
    known = {one.name: one.provides for one in families}
    assert {"alignment", "nbest"} <= known["encoder_decoder"] and "alignment" not in known["endpoint"]
