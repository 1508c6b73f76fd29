"""The languages that models tell, and another pair from the same weights: what loading it for that pair gives."""

from pathlib import Path

import pytest

from simulst import load_model
from simulst.core.languages import Pair, Polyglot, pairs_of
from simulst.core.query import Query
from simulst.core.source import FloatArray
from simulst.core.translator import Translator
from simulst.testing import ToyTranslator


def heard(model: Translator, audio: FloatArray) -> tuple[int, ...]:
    session = model.open()
    session.extend_source(audio, is_final=True)
    return session.hypothesise((), Query(max_new=12))[0].ids


def other(model: Translator, pair: Pair) -> Translator:
    assert isinstance(model, Polyglot) and pair in model.pairs
    return model.for_pair(pair)


@pytest.mark.parametrize(
    ("source", "task", "pair"),
    [
        ("en", "transcribe", Pair(source="en", target="en")),
        ("ja", "transcribe", Pair(source="ja", target="ja")),
        ("ja", "translate", Pair(source="ja", target="en")),
    ],
)
def test_whisper(whisper_dir: Path, noise: FloatArray, source: str, task: str, pair: Pair) -> None:
    german = load_model(whisper_dir, source="de", no_speech=1, min_source_s=0)
    assert pairs_of(german)[0] == Pair(source="de", target="en")
    found, loaded = other(german, pair), load_model(whisper_dir, source=source, task=task, no_speech=1, min_source_s=0)
    assert heard(found, noise) == heard(loaded, noise)
    assert found.vocabulary.spaced is loaded.vocabulary.spaced
    assert pairs_of(found)[0] == pair
    assert german.vocabulary.spaced


def test_whisper_guesses_and_transcribes_what_it_guessed(whisper_dir: Path) -> None:
    pairs = pairs_of(load_model(whisper_dir))
    assert pairs[0] == Pair(source="", target="en")
    assert Pair(source="", target="") in pairs and Pair(source="en", target="en") in pairs
    assert len(pairs) == len(set(pairs)) == 7


def test_seamless(seamless_dir: Path, noise: FloatArray) -> None:
    english = load_model(seamless_dir, target="eng")
    targets = [pair.target for pair in pairs_of(english)]
    assert targets[0] == "en" and "de" in targets
    german = other(english, Pair(source="", target="de"))
    assert heard(german, noise) == heard(load_model(seamless_dir, target="deu"), noise)


@pytest.mark.slow
def test_tiny_en_de_transcribes_with_the_weights_that_translate(noise: FloatArray) -> None:
    translating, transcribing = load_model("tiny-en-de"), load_model("tiny-en-de", task="transcribe")
    transcript = Pair(source="en", target="en")
    assert pairs_of(translating) == (Pair(source="en", target="de"), transcript)
    assert pairs_of(transcribing)[0] == transcript
    assert heard(other(translating, transcript), noise) == heard(transcribing, noise) != heard(translating, noise)


def test_a_model_that_tells_nothing() -> None:
    assert pairs_of(ToyTranslator()) == ()
