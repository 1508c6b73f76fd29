"""Languages of a stream: chosen in `hello` and `switch`, and what is said where no model does them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from simulst.core.languages import Pair, Wanted, choose
from simulst.core.translator import Translator
from simulst.errors import ModelError
from simulst.testing import ToyTranslator, toy_audio, toy_text
from simulst.testing.tongues import TRANSCRIBE, TRANSLATE, TwoTongues

WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 5, 35, 8]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "pair"),
    [
        ({}, TRANSLATE),
        ({"target": "de"}, TRANSLATE),
        ({"source": "en", "task": "translate"}, TRANSLATE),
        ({"task": "transcribe"}, TRANSCRIBE),
        ({"target": "en"}, TRANSCRIBE),
    ],
)
def test_a_stream_gets_the_languages_that_it_asks_for(
    serve: Callable[..., Any], client: Callable[..., Any], asked: dict[str, str], pair: Pair
) -> None:
    one = client(serve({"plain": ToyTranslator(), "both": TwoTongues()}))
    ready = one.hello(**asked) if asked else one.hello(model="both")
    assert (ready["model"], ready["source"], ready["target"]) == ("both", pair.source, pair.target)
    one.audio(toy_audio(WORDS))
    assert one.finish() == (toy_text(WORDS).upper() if pair == TRANSCRIBE else toy_text(WORDS))


def test_a_model_is_made_once_for_a_pair(serve: Callable[..., Any], client: Callable[..., Any]) -> None:
    both = TwoTongues()
    server = serve({"both": both})
    for _ in range(2):
        client(server).hello(target="en")
    assert both.made == [TRANSCRIBE]


def test_the_language_changes_within_a_stream(serve: Callable[..., Any], client: Callable[..., Any]) -> None:
    one = client(serve({"both": TwoTongues()}))
    one.hello()
    one.audio(toy_audio(WORDS))
    one.say(type="switch", target="en")
    switched = one.until("switched")
    assert (switched["source"], switched["target"]) == ("en", "en")
    one.audio(toy_audio(WORDS))
    assert one.finish() == f"{toy_text(WORDS)} {toy_text(WORDS).upper()}"


def test_a_switch_to_what_nobody_does_leaves_the_stream_as_it_was(
    serve: Callable[..., Any], client: Callable[..., Any]
) -> None:
    one = client(serve({"both": TwoTongues()}))
    one.hello()
    one.audio(toy_audio(WORDS))
    one.say(type="switch", target="fr")
    error = one.until("error")
    assert (error["code"], error["fatal"]) == ("unknown_language", False)
    assert one.finish() == toy_text(WORDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "code", "sentence"),
    [
        (
            {"source": "en", "target": "fr"},
            "unknown_language",
            "There is no text from en into fr here; toy does not tell its languages; both does en to de, en "
            "transcribed.",
        ),
        ({"model": "toy", "target": "de"}, "unknown_language", "There is no text into de here; toy does"),
        ({"task": "sing"}, "bad_value", "task must be translate or transcribe."),
        ({"source": 7}, "bad_value", "source must be a text of 1 to 200 characters."),
        ({"model": "other"}, "unknown_model", "This server has no model 'other'; it has toy, both."),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(
    serve: Callable[..., Any], client: Callable[..., Any], asked: dict[str, Any], code: str, sentence: str
) -> None:
    one = client(serve({"toy": ToyTranslator(), "both": TwoTongues()}))
    one.say(type="hello", version=1, sample_rate=16_000, format="f32le", **asked)
    error = one.take()
    assert (error["type"], error["code"]) == ("error", code)
    assert error["message"].startswith(sentence)


def test_the_configuration_lists_languages(serve: Callable[..., Any]) -> None:
    config = json.loads(serve({"toy": ToyTranslator(), "both": TwoTongues()}).get("/config")[1])
    assert [model["pairs"] for model in config["models"]] == [
        [],
        [
            {"source": "en", "target": "de", "task": "translate"},
            {"source": "en", "target": "en", "task": "transcribe"},
        ],
    ]


def test_a_given_source_goes_before_a_guessed_one() -> None:
    codes = ("", "de", "fr", "it", "nl", "pl", "pt", "tr")
    many: dict[str, Translator] = {"many": TwoTongues(pairs=tuple(Pair(source=code, target="en") for code in codes))}
    assert choose(many, Wanted(source="fr")) == ("many", Pair(source="fr", target="en"))
    assert choose(many, Wanted(source="sv", target="en")) == ("many", Pair(source="", target="en"))
    with pytest.raises(ModelError, match=r"no translation into de here; many does 8 languages to en\.$"):
        choose(many, Wanted(target="de", task="translate"))
