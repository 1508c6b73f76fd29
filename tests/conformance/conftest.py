"""Every registered policy on every translator below.

A translator is added here: a name and a function that makes it (called once per test run). Its sessions are given
`toy_audio`, 16 kHz samples in [0, 1), which is noise to a model with weights: the suite judges form, not translation.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from simulst.core.session import Session
from simulst.core.translator import Evidence, Translator
from simulst.errors import PolicyError
from simulst.models import load_model
from simulst.models.speech_llm.transducer import TRANSDUCER_FILE, JointNetwork, save_joint
from simulst.policies import POLICIES, load_policy
from simulst.testing import Scripted, ScriptedTranslator, ToyTranslator, ToyVocabulary
from simulst.testing.checkpoints import tiny_whisper
from simulst.testing.speech_llm import make_tiny_speech_llm


def scripted() -> Translator:
    vocabulary = ToyVocabulary(["_das", "_Haus", "_ist", "alt", ".", "_Und"])
    lines = [["_das"], ["_das", "_Haus"], [], ["_Haus", "_ist", "alt", "."], ["_Und", "_das"]]
    script = [
        Scripted(ids=vocabulary.encode(line), logprobs=(-0.1,) * len(line), others=(vocabulary.encode(line[:1]),) * 2)
        for line in lines * 2_000
    ]
    return ScriptedTranslator(vocabulary=vocabulary, script=script, source_words=range(1, 10_000), max_source_s=12.0)


def whisper() -> Translator:
    with TemporaryDirectory() as folder:
        directory = tiny_whisper(Path(folder) / "tiny-whisper", brevity=5.0)
        model = load_model(directory, source="de", no_speech=1, padding_s=0.5)
    model.max_source_s = 8.0  # type: ignore[misc]  # a short window keeps the suite short
    return model


def speech_llm(**options: str) -> Translator:
    with TemporaryDirectory() as folder:
        directory = make_tiny_speech_llm(Path(folder) / "tiny-speech-llm", brevity=2.0)
        torch.manual_seed(0)
        save_joint(JointNetwork(32, 8), directory / TRANSDUCER_FILE)
        model = load_model(directory, **options)
    model.max_source_s = 8.0  # type: ignore[misc]
    return model


TALK = [5, 17, 0, 30, 2, 41, 8, 60, 11, 0, 0, 23, 40, 7, 33, 21, 50, 9]

TRANSLATORS: dict[str, Callable[[], Translator]] = {
    "scripted": scripted,
    "toy": lambda: ToyTranslator(provides=frozenset(Evidence)),
    "tiny-whisper": whisper,
    "tiny-speech-llm": speech_llm,
    "tiny-speech-llm-grouped": lambda: speech_llm(positions="grouped", cache="evict"),
    "toy-look-ahead": lambda: ToyTranslator(name="toy-look-ahead", provides=frozenset(Evidence), look_ahead_s=0.31),
}


@cache
def made(name: str) -> Translator:
    return TRANSLATORS[name]()


def _params() -> list[object]:
    """Names of translators; those with weights take most of the time, so they are left to the slow part of the run."""
    slow = [pytest.mark.slow]
    return [pytest.param(name, marks=slow if name.startswith("tiny-") else []) for name in TRANSLATORS]


@pytest.fixture(params=_params())
def translator(request: pytest.FixtureRequest) -> Iterator[Translator]:
    yield made(request.param)


@pytest.fixture
def talk(request: pytest.FixtureRequest) -> list[int]:
    """Words of a talk, half as many where every one of them is decoded by a network."""
    network = request.node.callspec.params["translator"].startswith("tiny-")
    return TALK[: len(TALK) // 2] if network else TALK


@pytest.fixture(params=list(POLICIES))
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(translator: Translator, policy: str) -> Callable[..., Session]:
    """start(**settings): a session of the policy on the translator; where it cannot run, its refusal is the test."""

    def open_session(**settings: object) -> Session:
        try:
            return Session(translator, load_policy(policy), **settings)  # type: ignore[arg-type]
        except PolicyError as error:
            assert f"Policy {policy} needs " in str(error)
            assert f"which model {translator.name} does not provide" in str(error)
            pytest.skip(str(error))

    return open_session
