"""`simulst translate` with every policy on every real model: a translation, or one sentence that says what lacks."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import soundfile

import simulst.models
from simulst.core.translator import Translator
from simulst.models import MODELS, describe_model, load_model, options_for
from simulst.policies import POLICIES, load_policy

Run = Callable[..., tuple[int, str, str]]

DATA = Path(__file__).parents[1] / "data"
WEIGHTS = Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser()
SPEECH = {
    "tiny-en-de": ("two_sentences_en.ogg", []),
    "whisper-base": ("two_sentences_de.ogg", ["--set", "source=de"]),
    "moonshine-tiny": ("two_sentences_en.ogg", []),
}


@cache
def loaded(name: str, options: tuple[tuple[str, Any], ...]) -> Translator:
    return load_model(name, **dict(options))


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, *, device: str = "cpu", **options: Any) -> Translator:
        return loaded(name, tuple(sorted(options.items())))

    monkeypatch.setattr(simulst.models, "load_model", load)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("model", MODELS)
def test_it_translates_or_says_why_not(run: Run, loaded_once: None, model: str, policy: str) -> None:
    if model != "tiny-en-de" and not (WEIGHTS / model / "config.json").is_file():
        pytest.skip(f"{WEIGHTS / model} is absent")
    speech, more = SPEECH[model]
    status, out, err = run("translate", DATA / speech, "--model", model, "--policy", policy, "--format", "jsonl", *more)
    lacking = load_policy(policy).policy.needs() - describe_model(model).provides
    if lacking:
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        assert f"Policy {policy} needs {', '.join(sorted(lacking))}, which model {model} does not provide; " in err
        return
    events = [json.loads(line) for line in out.splitlines()]
    assert (status, err, events[-1]["type"]) == (0, "", "end")
    assert 5 <= len(events[-1]["text"].split()) <= 60
    assert events[-1]["audio_s"] == pytest.approx(soundfile.info(DATA / speech).duration, abs=0.1)


def test_options_that_a_policy_needs_are_set() -> None:
    grouped = load_policy("gpe_wait_k").policy.needs()
    assert options_for("tiny-en-de", grouped) == {"positions": "grouped"}
    assert options_for("tiny-en-de", load_policy("infinite").policy.needs()) == {}
    assert options_for("moonshine-tiny", grouped) == {}
    assert options_for("no-such-model", grouped) == {}
