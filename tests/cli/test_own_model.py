"""`--model file.py:FAMILY` on the command line, with the example of the repository."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from simulst.testing.speech_llm import make_tiny_speech_llm

Run = Callable[..., tuple[int, str, str]]

SPEECH = Path(__file__).parents[1] / "data" / "two_sentences_en.ogg"
MODEL = f"{Path(__file__).parents[2] / 'examples' / 'my_model.py'}:FAMILY"


def test_it_translates_with_options_of_its_own(run: Run, tmp_path: Path) -> None:
    tiny = make_tiny_speech_llm(tmp_path / "tiny")
    more = ("--policy", "wait_k", "--set", f"of={tiny}", "--set", "k=2", "--format", "jsonl")
    status, out, err = run("translate", SPEECH, "--model", MODEL, *more)
    assert (status, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["text"] != ""


def test_it_is_listed_with_its_options_and_policies(run: Run) -> None:
    status, out, _ = run("models", MODEL, "--json")
    found = json.loads(out)
    assert (status, found["name"], found["provides"]) == (0, "my_model.py:FAMILY", ["ctc_counts", "prefix"])
    assert "wait_k" in found["policies"] and "stream_att" not in found["policies"]
    assert list(found["options"]) == ["of"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (MODEL.replace("FAMILY", "WRONG"), (), "my_model.py has no 'WRONG'; its model families are: FAMILY."),
        ("nowhere.py:FAMILY", (), "There is no model file nowhere.py."),
        (MODEL, ("--set", "of=nope"), "Unknown model 'nope'; known: tiny-en-de, "),
        (MODEL, ("--set", "beams=2"), "Unknown setting 'beams'; known for policy wait_k: k, words, "),
        (MODEL, ("--policy", "stream_att"), "Policy stream_att needs alignment, which model my_model.py:FAMILY does"),
    ],
)
def test_what_is_wrong_is_one_sentence(run: Run, model: str, options: tuple[str, ...], sentence: str) -> None:
    status, out, err = run("translate", SPEECH, "--model", model, "--policy", "wait_k", *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert sentence in err


@pytest.mark.slow
def test_it_says_what_it_hears(run: Run) -> None:
    status, out, err = run("translate", SPEECH, "--model", MODEL, "--policy", "wait_k")
    assert (status, err) == (0, "")
    assert len(out.split()) > 10 and {"the", "a", "to", "of"} & set(out.lower().split())
