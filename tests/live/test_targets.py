"""One stream written in several languages: each as it would be alone, told apart, resumed, watched and exported."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from simulst.testing import ToyTranslator, toy_audio, toy_text
from simulst.testing.tongues import TRANSCRIBE, TRANSLATE, TwoTongues

WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 5, 35, 8]
OTHERS = [7, 6, 5, 0, 31, 30, 29]
Message = dict[str, Any]


class Reader:
    """Receives a stream of several targets."""

    def __init__(self, client: Any, **hello: Any) -> None:
        self.client, self.seen = client, list[Message]()
        start = {"version": 1, "sample_rate": 16_000, "format": "f32le", "pace": "file", "targets": ["de", "en"]}
        client.say(type="hello", **(start | hello))

    def until(self, kind: str, count: int = 1) -> Message:
        while True:
            message: Message = json.loads(self.client.socket.recv(timeout=20))
            self.seen.append(message)
            count -= message["type"] == kind
            if not count:
                return message

    def of(self, target: str) -> list[Message]:
        """What a stream of that target alone would have been told, without what depends on the clock."""
        clocked = ("target", "lag_s", "compute_s", "rtf")
        return [
            {key: value for key, value in one.items() if key not in clocked}
            for one in self.seen
            if one.get("target", target) == target and one["type"] in ("write", "transcript", "end", "switched")
        ]


@pytest.fixture
def both(serve: Callable[..., Any]) -> Any:
    return serve({"plain": ToyTranslator(), "both": TwoTongues()}, resume_s=5.0)


def test_each_target_is_told_as_if_it_were_alone(both: Any, client: Callable[..., Any]) -> None:
    two = Reader(client(both))
    ready = two.until("ready")
    assert (ready["model"], ready["target"], ready["targets"]) == ("both", "de", ["de", "en"])
    two.client.audio(toy_audio(WORDS))
    two.until("write", 10)  # an end that comes earlier may be told together with the step before it
    two.client.say(type="end")
    two.until("end", 2)
    for target, text in (("de", toy_text(WORDS)), ("en", toy_text(WORDS).upper())):
        alone = Reader(client(both), targets=[target])
        alone.client.audio(toy_audio(WORDS), block=7_000)
        alone.until("write", 5)
        alone.client.say(type="end")
        assert alone.until("end")["text"] == text
        assert two.of(target) == alone.of(target)
        assert [one["seq"] for one in two.of(target)] == list(range(1, len(two.of(target)) + 1))
    assert len(two.of("de")) > 5


def test_two_streams_do_not_touch(both: Any, client: Callable[..., Any]) -> None:
    one, other = Reader(client(both)), Reader(client(both))
    for begin in range(0, 11 * 5120, 5120):
        one.client.audio(toy_audio(WORDS)[begin : begin + 5120])
        other.client.audio(toy_audio(OTHERS)[begin : begin + 5120])
    for reader, words in ((one, WORDS), (other, OTHERS)):
        reader.client.say(type="end")
        reader.until("end", 2)
        ends = {end["target"]: end["text"] for end in reader.seen if end["type"] == "end"}
        assert ends == {"de": toy_text(words), "en": toy_text(words).upper()}


def test_the_model_is_asked_once_for_both(serve: Callable[..., Any], client: Callable[..., Any]) -> None:
    model = TwoTongues()
    reader = Reader(client(serve({"both": model})), targets=["en", "de"])
    reader.until("ready")
    assert model.together == [[TRANSCRIBE, TRANSLATE]]


def test_a_stream_is_resumed_in_each_target(both: Any, client: Callable[..., Any]) -> None:
    first, second = Reader(client(both)), client(both)
    session = first.until("ready")["session"]
    first.client.audio(toy_audio(WORDS))
    first.until("write", 6)
    seq = {target: max(one["seq"] for one in first.of(target)) for target in ("de", "en")}
    second.say(type="resume", session=session, seq=seq)
    resumed = json.loads(second.socket.recv(timeout=10))
    assert set(resumed["seq"]) == {"de", "en"} and resumed["received"] == len(toy_audio(WORDS))
    second.say(type="end")
    rest = [json.loads(second.socket.recv(timeout=10))]
    while sum(one["type"] == "end" for one in rest) < 2:
        rest.append(json.loads(second.socket.recv(timeout=10)))
    for target in ("de", "en"):
        found = [one for one in rest if one.get("target") == target and "seq" in one]
        assert [one["seq"] for one in found] == list(range(seq[target] + 1, seq[target] + 1 + len(found)))
        written = [one for one in first.seen if one.get("target") == target and one["type"] == "write"]
        texts = [one["text"] for one in [*written, *found] if one["type"] == "write"]
        assert "".join(texts) == found[-1]["text"]


@pytest.mark.slow
def test_watchers_follow_the_target_they_ask_for(both: Any, client: Callable[..., Any]) -> None:
    watchers = {target: client(both) for target in ("de", "en", "fr", "")}
    for target, watcher in watchers.items():
        watcher.say(type="watch", channel="c", **({"target": target} if target else {}))
        watcher.until("watching")
    reader = Reader(client(both), channel="c")
    reader.client.audio(toy_audio(WORDS))
    reader.client.say(type="end")
    assert watchers["de"].until("ready")["target"] == watchers[""].until("ready")["target"] == "de"
    assert watchers["en"].until("ready")["target"] == "en"
    for target in ("de", "", "en"):
        said = watchers[target].until("end")["text"]  # the client checks every position
        assert said == (toy_text(WORDS).upper() if target == "en" else toy_text(WORDS))
    error = watchers["fr"].until("error")
    assert (error["code"], error["fatal"]) == ("unknown_target", False)
    assert error["message"] == "This stream writes de, en, not 'fr'."


def test_every_target_is_exported(both: Any, client: Callable[..., Any]) -> None:
    reader = Reader(client(both))
    reader.client.audio(toy_audio(WORDS))
    reader.client.say(type="end")
    reader.until("end", 2)
    for asked, target in (({}, "de"), ({"target": "de"}, "de"), ({"target": "en"}, "en")):
        reader.client.say(type="export", format="txt", **asked)
        export = reader.until("export")
        assert export["target"] == target
        assert export["text"].isupper() == (target == "en")
    reader.client.say(type="export", format="txt", target="fr")
    assert reader.until("error")["message"] == "This stream writes de, en, not 'fr'."


def test_a_switch_changes_the_policy_in_every_target(both: Any, client: Callable[..., Any]) -> None:
    reader = Reader(client(both))
    reader.until("ready")
    for wrong, sentence in (
        ({"targets": ["de"]}, "A stream keeps its targets; a new one can have de."),
        ({"target": "de"}, "A stream into de, en keeps its targets."),
    ):
        reader.client.say(type="switch", **wrong)
        error = reader.until("error")
        assert (error["message"], error["fatal"]) == (sentence, False)
    reader.client.audio(toy_audio(WORDS))
    reader.client.say(type="switch", policy="wait_k", targets=["de", "en"])
    reader.until("switched", 2)
    reader.client.audio(toy_audio(OTHERS))
    reader.client.say(type="end")
    reader.until("end", 2)
    assert reader.of("de")[-1]["text"] == f"{toy_text(WORDS)} {toy_text(OTHERS)}"
    assert reader.of("en")[-1]["text"] == f"{toy_text(WORDS)} {toy_text(OTHERS)}".upper()


LIST = "targets must be a list of 1 to 8 different language codes."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "code", "sentence"),
    [
        ({"targets": []}, "bad_value", LIST),
        ({"targets": "de"}, "bad_value", LIST),
        ({"targets": ["de", 1]}, "bad_value", LIST),
        ({"targets": ["de", "de"]}, "bad_value", LIST),
        ({"targets": [str(i) for i in range(9)]}, "bad_value", LIST),
        ({"target": "de"}, "bad_value", "targets cannot stand beside target or task; leave those out."),
        (
            {"targets": ["de", "fr"]},
            "unknown_language",
            "No model here writes de and fr of one stream; plain does not tell its languages; "
            "both does en to de, en transcribed.",
        ),
        (
            {"model": "plain"},
            "unknown_language",
            "No model here writes de and en of one stream; plain does not tell its languages.",
        ),
    ],
)
def test_targets_that_cannot_be_had_are_refused(
    both: Any, client: Callable[..., Any], asked: Message, code: str, sentence: str
) -> None:
    error = Reader(client(both), **asked).until("error")
    assert (error["code"], error["message"], error["fatal"]) == (code, sentence, True)
