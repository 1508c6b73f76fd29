"""Several targets of one stream: each says what it says alone, and what they share is computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from simulst.core.beside import feed_all, finish_all
from simulst.core.events import Event, WriteEvent
from simulst.core.languages import Pair, Wanted, choose_targets, side_by_side
from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.models import load_model
from simulst.models.speech_llm.compute import Direct
from simulst.models.speech_llm.encoder import EncoderState
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.policies import load_policy
from simulst.testing import ToyTranslator
from simulst.testing.speech_llm import make_tiny_speech_llm

DE, EN = Pair(source="en", target="de"), Pair(source="en", target="en")
Said = list[tuple[str, int, float, float | None, float | None]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechLLMTranslator:
    found = load_model(str(make_tiny_speech_llm(tmp_path_factory.mktemp("tiny") / "model")))
    assert isinstance(found, SpeechLLMTranslator)
    return found


def noise(seed: int, seconds: float = 8.0) -> "np.typing.NDArray[np.float32]":
    generator = np.random.default_rng(seed)
    loud = np.repeat(generator.uniform(0, 0.3, round(seconds * 4)), 4_000)
    return (generator.standard_normal(len(loud)) * loud).astype(np.float32)


class Stream:
    """One stream in several targets, and what was said in each."""

    def __init__(self, models: Sequence[Translator], policy: str) -> None:
        self.sessions = [Session(one, load_policy(policy), chunk_ms=640) for one in models]
        self.said: list[Said] = [[] for _ in models]

    def take(self, events: list[list[Event]]) -> None:
        for said, new in zip(self.said, events, strict=True):
            said += [(e.text, e.retract, e.audio_s, e.start_s, e.end_s) for e in new if isinstance(e, WriteEvent)]

    def hear(self, audio: "np.typing.NDArray[np.float32]", pieces: int) -> "Stream":
        for piece in np.array_split(audio, pieces):
            self.take(feed_all(self.sessions, piece))
        self.take(finish_all(self.sessions))
        return self


@pytest.mark.parametrize("policy", ["stream_att", "hold_n", "read_write", "offline"])
def test_each_target_says_what_it_says_alone(model: SpeechLLMTranslator, policy: str) -> None:
    audio = noise(1)
    together = Stream(side_by_side(model, [EN, DE]), policy).hear(audio, 23)
    for pair, said in zip((EN, DE), together.said, strict=True):
        for pieces in (1, 7):
            assert said == Stream([model.for_pair(pair)], policy).hear(audio, pieces).said[0]
    assert together.said[0] and together.said[0] != together.said[1]


def test_two_streams_side_by_side_do_not_touch(model: SpeechLLMTranslator) -> None:
    audio = [noise(2), noise(3)]
    streams = [Stream(side_by_side(model, [DE, EN]), "stream_att") for _ in audio]
    for pieces in zip(*(np.array_split(one, 9) for one in audio), strict=True):
        for stream, piece in zip(streams, pieces, strict=True):
            stream.take(feed_all(stream.sessions, piece))
    for stream, one in zip(streams, audio, strict=True):
        stream.take(finish_all(stream.sessions))
        assert stream.said == Stream(side_by_side(model, [DE, EN]), "stream_att").hear(one, 1).said


@pytest.mark.parametrize("policy", ["stream_att", "read_write"])
def test_the_audio_is_encoded_once(model: SpeechLLMTranslator, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    hear = Direct.hear

    def counted(
        self: Direct, samples: Tensor, state: EncoderState, *, is_final: bool = False
    ) -> tuple[Tensor, list[int]]:
        heard.append(len(samples))
        return hear(self, samples, state, is_final=is_final)

    monkeypatch.setattr(Direct, "hear", counted)
    Stream([model], policy).hear(noise(4), 5)
    alone = heard[:]
    heard.clear()
    Stream(side_by_side(model, [DE, EN]), policy).hear(noise(4), 5)
    assert heard == alone


@dataclass(kw_only=True)
class Many(ToyTranslator):
    pairs: tuple[Pair, ...] = (
        Pair(source="", target="en"),
        Pair(source="de", target="en"),
        Pair(source="fr", target="en"),
        Pair(source="de", target="de"),
        Pair(source="fr", target="fr"),
    )

    def for_pair(self, pair: Pair) -> Translator:
        return self


def test_targets_have_one_source() -> None:
    """A model that writes English from anything, and transcribes, does both of what is French."""

    name, pairs = choose_targets({"plain": ToyTranslator(), "many": Many()}, Wanted(), ["en", "fr"])
    assert (name, pairs) == ("many", [Pair(source="fr", target="en"), Pair(source="fr", target="fr")])


@pytest.mark.slow
def test_the_model_that_comes_along_writes_german_and_english_at_once() -> None:
    import soundfile

    tiny = load_model("tiny-en-de")
    talk = Path(__file__).parents[2] / "examples" / "talk.flac"
    audio, _ = soundfile.read(talk, dtype="float32", frames=16_000 * 12)
    together = Stream(side_by_side(tiny, [DE, EN]), "stream_att").hear(audio, 12)
    for pair, said in zip((DE, EN), together.said, strict=True):
        (alone,) = side_by_side(tiny, [pair])
        assert said == Stream([alone], "stream_att").hear(audio, 3).said[0]
        assert len("".join(text for text, *_ in said)) > 80
