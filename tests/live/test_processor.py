"""The processor inside simulstream's own harness; its two names are stood in for here, as the harness defines them."""

import importlib
import sys
from abc import ABC
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from simulst.core.glossary import Term
from simulst.errors import DataError, GlossaryError
from simulst.live.http import Refusal
from simulst.testing import ToyTranslator, toy_audio, toy_text

WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 0, 5, 35, 8]
PACKAGE = "simulstream.server.speech_processors"


class SpeechProcessor(ABC):  # noqa: B024
    pass


@dataclass
class IncrementalOutput:
    new_tokens: list[str]
    new_string: str
    deleted_tokens: list[str]
    deleted_string: str


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class, with a model of toy words under every name; counts how often one is loaded."""
    for name in ("simulstream", "simulstream.server", PACKAGE, f"{PACKAGE}.incremental_output"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules[PACKAGE], "SpeechProcessor", SpeechProcessor, raising=False)
    outputs = sys.modules[f"{PACKAGE}.incremental_output"]
    monkeypatch.setattr(outputs, "IncrementalOutput", IncrementalOutput, raising=False)
    monkeypatch.delitem(sys.modules, "simulst.live.processor", raising=False)
    module: Any = importlib.import_module("simulst.live.processor")
    loads: list[str] = []

    def load(name: str, **options: Any) -> ToyTranslator:
        loads.append(name)
        return ToyTranslator()

    monkeypatch.setattr("simulst.models.load_model", load)
    yield SimpleNamespace(cls=module.SimulstProcessor, loads=loads)
    del sys.modules["simulst.live.processor"]


def config(**more: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"type": "simulst.live.processor.SimulstProcessor", "policy": "wait_k", **more})


def said(one: Any) -> str:
    """The text of the toy's words, sent in pieces of the size that the processor asks for."""
    audio, size, tokens = toy_audio(WORDS), round(16_000 * one.speech_chunk_size), list[str]()
    outputs = [one.process_chunk(audio[at : at + size]) for at in range(0, len(audio), size)]
    for output in [*outputs, one.end_of_stream()]:
        assert (output.new_string, output.deleted_tokens) == ("".join(output.new_tokens), [])
        tokens += output.new_tokens
    return str(one.tokens_to_string(tokens)).strip()


def test_a_glossary_of_the_configuration_reaches_the_streams(processor: Any, tmp_path: Path) -> None:
    terms = tmp_path / "terms.tsv"
    terms.write_text("s14\tvierzehn\n")
    one = processor.cls(config(policy="stream_att", glossary=str(terms), glossary_boost=4.0))
    said(one)
    catalogue = processor.cls._loaded[1]
    assert catalogue.glossary is not None
    assert (catalogue.glossary.terms, catalogue.glossary.boost) == ((Term(source="s14", target="vierzehn"),), 4.0)
    with pytest.raises(GlossaryError, match=r"^The glossary .*none\.tsv cannot be read: no such file or directory\.$"):
        processor.cls.load_model(config(glossary=str(tmp_path / "none.tsv")))


def test_recordings_one_after_the_other(processor: Any) -> None:
    assert issubclass(processor.cls, SpeechProcessor)
    asked = config(set=["k=2"], chunk_ms=320)
    processor.cls.load_model(asked)
    one = processor.cls(asked)
    assert one.speech_chunk_size == 0.32
    first = said(one)
    one.clear()
    assert first == said(one) == toy_text(WORDS)
    assert processor.loads == ["tiny-en-de"]
    processor.cls(config())
    assert processor.loads == ["tiny-en-de"] * 2


def test_what_cannot_be_used_is_one_sentence(processor: Any) -> None:
    with pytest.raises(
        DataError, match=r"^processor\.yaml: unknown key 'polcy'; known: model, policy, set, chunk_ms, "
    ):
        processor.cls(config(polcy="wait_k"))
    one = processor.cls(config())
    one.process_chunk(toy_audio(WORDS))
    with pytest.raises(
        Refusal, match=r"^The language of a stream cannot change after audio came; clear ends the stream\.$"
    ):
        one.set_target_language("fr")
