"""Glossaries of live streams: in `hello`, in `switch`, of the server; what is no glossary is one sentence."""

from collections.abc import Callable
from typing import Any

import pytest

from simulst.core.glossary import parse_glossary
from simulst.live.catalogue import Catalogue
from simulst.live.protocol import Hello, ProtocolError, read_hello, read_switch
from simulst.policies import load_policy
from simulst.testing import toy_audio, toy_text
from simulst.testing.noting import Noting

WORDS = [3, 14, 15, 9]
HELLO = {"version": 1, "sample_rate": 16_000, "format": "f32le"}


def test_a_stream_brings_its_terms_and_changes_them(serve: Callable[..., Any], client: Callable[..., Any]) -> None:
    model = Noting()
    one = client(serve({"toy": model}))
    one.hello(glossary="s14\tvierzehn\ns60\tsechzig")
    one.audio(toy_audio(WORDS))
    one.say(type="switch", glossary="s15\tfünfzehn")
    one.until("switched")
    assert model.noted == {"vierzehn"}
    model.noted.clear()
    one.audio(toy_audio(WORDS))
    assert one.finish() == f"{toy_text(WORDS)} {toy_text(WORDS)}"
    assert model.noted == {"fünfzehn"}


def test_streams_without_terms_have_those_of_the_server() -> None:
    server, own = parse_glossary("s14\tvierzehn"), "s15\tfünfzehn"
    model = Noting()
    catalogue = Catalogue({"toy": model}, load_policy("stream_att"), server)

    def noted(hello: Hello) -> set[str]:
        model.noted.clear()
        session = catalogue.open(hello).sessions[0]
        session.feed(toy_audio(WORDS))
        session.finish()
        return set(model.noted)

    hello = read_hello({**HELLO, "glossary": own})
    assert noted(read_hello(dict(HELLO))) == {"vierzehn"}
    assert noted(hello) == {"fünfzehn"}
    assert noted(read_switch({"policy": "wait_k"}, hello)) == {"fünfzehn"}
    assert noted(read_switch({"glossary": ""}, hello)) == {"vierzehn"}
    assert noted(read_hello({**HELLO, "policy": "taf"})) == set()  # takes none, and nobody asked for it


@pytest.mark.parametrize(
    ("glossary", "sentence"),
    [
        ("dog Hund", "glossary, line 1: write the source, one tab and the target."),
        ("# nothing", "glossary has no terms; write the source, one tab and the target on each line."),
        ("d\x00g\tHund", "glossary, line 1: a control character is in the term; remove it."),
        ("x" * 8001, "glossary must be a text of at most 8000 characters, a term on each line."),
        ({"dog": "Hund"}, "glossary must be a text of at most 8000 characters, a term on each line."),
        (7, "glossary must be a text of at most 8000 characters, a term on each line."),
    ],
)
def test_what_is_no_glossary_is_refused(shared: Any, client: Callable[..., Any], glossary: Any, sentence: str) -> None:
    one = client(shared)
    one.say(type="hello", **HELLO, glossary=glossary)
    error = one.until("error")
    assert (error["code"], error["message"], error["fatal"]) == ("bad_value", sentence, True)


def test_a_policy_that_takes_none_is_refused_where_one_is_brought() -> None:
    catalogue = Catalogue({"toy": Noting()}, load_policy("stream_att"))
    with pytest.raises(ProtocolError, match="a glossary is not followed; choose another policy") as error:
        catalogue.open(read_hello({**HELLO, "policy": "taf", "glossary": "s14\tvierzehn"}))
    assert error.value.code == "bad_value"
