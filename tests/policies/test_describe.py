import json
from pathlib import Path

import pytest

from simulst.core.session import Session
from simulst.core.translator import Evidence
from simulst.errors import PolicyError
from simulst.policies import POLICIES, load_policy
from simulst.policies.describe import describe_policies, describe_policy
from simulst.testing import ScriptedTranslator, ToyTranslator, ToyVocabulary, toy_audio, toy_text

ROOT = Path(__file__).parents[2]
MINE = f"{ROOT / 'examples' / 'my_policy.py'}:HoldSeconds"


def test_every_policy_is_described_and_json_ready() -> None:
    found = {one["name"]: one for one in describe_policies()}
    assert list(found) == list(POLICIES)
    json.dumps(list(found.values()))
    for one in found.values():
        assert one["paper"]
        assert one["summary"].endswith(".")
        assert one["name"] in one["presets"]
        assert all(parameter["help"] for parameter in one["parameters"])


def test_parameters_have_units_and_published_values() -> None:
    f = next(one for one in describe_policy("stream_att-f4")["parameters"] if one["name"] == "f")
    assert f == {
        "name": "f",
        "value": 4,
        "default": 4,
        "unit": "frames",
        "help": "frames at the end that may not be attended to",
        "published": "2, 4, ..., 14",
    }


def test_keys_of_the_history_are_described_with_their_values() -> None:
    keys = {one["name"]: one for one in describe_policy("stream_att-f4")["history_keys"]}
    assert (keys["history.method"]["value"], keys["history.method"]["default"]) == ("fixed_words", "auto")
    assert (keys["history.words"]["unit"], keys["history.words"]["help"]) == ("words", "words that fixed_words keeps")
    assert all(one["help"] for one in keys.values())


def test_a_model_says_what_it_can_run_and_what_it_lacks() -> None:
    model = ScriptedTranslator(vocabulary=ToyVocabulary(), provides=frozenset({Evidence.PREFIX}), name="mini")
    found = {one["name"]: one for one in describe_policies(model=model)}
    assert found["hold_n"]["runs"] is True
    assert (found["edatt"]["runs"], found["edatt"]["missing"], found["edatt"]["model"]) == (
        False,
        ["alignment"],
        "mini",
    )


def test_unknown_policy_has_no_description() -> None:
    with pytest.raises(PolicyError, match="Unknown policy 'nope'"):
        describe_policy("nope")


def test_the_policy_of_the_examples_runs() -> None:
    words = [5, 17, 30, 2, 41, 8, 60, 11, 23, 40]
    session = Session(ToyTranslator(), load_policy(MINE, seconds=0.5))
    session.feed(toy_audio(words))
    assert session.text
    session.finish()
    assert session.text == toy_text(words)
    assert len((ROOT / "examples" / "my_policy.py").read_text().split("class HoldSeconds")[1].splitlines()) <= 30


def test_the_document_names_every_policy_parameter_and_paper() -> None:
    document = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    sections = {text.split("\n")[0].strip("`"): text for text in document.split("\n## ")[1:]}
    for one in describe_policies():
        section = sections[one["name"]]
        for parameter in one["parameters"]:
            assert f"`{parameter['name']}`" in section, (one["name"], parameter["name"])
        for need in one["requires"]:
            assert need in section, (one["name"], need)
