"""Several targets of one stream: each says what it says alone, and what they share is computed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from simulst.core.beside import feed_all, finish_all
from simulst.core.events import Event, WriteEvent
from simulst.core.languages import Pair, Wanted, choose_targets, pairs_of, side_by_side
from simulst.core.query import Query
from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.models import load_model
from simulst.models.cascade import Cascade
from simulst.models.seq2seq.translator import ManyTongues
from simulst.models.seq2seq.windows import EncodedWindow, Features, JointWindow
from simulst.models.speech_llm.compute import Direct
from simulst.models.speech_llm.streaming_encoder import EncoderState
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.models.text import compute as texts
from simulst.models.text.encoder_decoder import EncoderDecoder
from simulst.models.text.translator import TextTranslatorSession
from simulst.policies import load_policy
from simulst.testing import ToyTranslator
from simulst.testing.checkpoints import tiny_canary, tiny_moonshine, tiny_seamless, tiny_speech2text, tiny_whisper
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.testing.text_checkpoints import tiny_marian, tiny_nllb, tiny_t5

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize("policy", ["stream_att", "hold_n", "read_write", "joint", "offline"])
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


@pytest.mark.parametrize(
    ("make", "options", "pairs"),
    [
        (tiny_whisper, {"source": "de"}, [Pair(source="de", target="en"), Pair(source="de", target="de")]),
        (tiny_seamless, {}, [Pair(source="", target="de"), Pair(source="", target="en")]),
        (tiny_canary, {}, [Pair(source="en", target="de"), Pair(source="en", target="en")]),
        (
            partial(tiny_speech2text, multilingual=True),
            {"target": "de"},
            [Pair(source="", target="de"), Pair(source="", target="fr")],
        ),
    ],
)
def test_an_encoder_decoder_encodes_a_window_once_for_all_targets(
    make: Callable[[Path], Path],
    options: dict[str, str],
    pairs: list[Pair],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load_model(make(tmp_path / "model"), **options)
    assert isinstance(model, ManyTongues)
    audio, windows = noise(5, 3.0), list[int]()
    encode = JointWindow.windows

    def counted(self: JointWindow, several: Sequence[Features]) -> list[EncodedWindow]:
        windows.append(several[0].samples)
        return encode(self, several)

    monkeypatch.setattr(JointWindow, "windows", counted)
    together = Stream(side_by_side(model, pairs), "hold_n").hear(audio, 5)
    assert len(windows) == len(set(windows)) > 1
    for pair, said in zip(pairs, together.said, strict=True):
        assert said == Stream([model.for_pair(pair)], "hold_n").hear(audio, 3).said[0]
    assert len({model.for_pair(pair).prompt() for pair in pairs}) == 2


def test_a_text_model_lists_its_targets_and_reads_a_text_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_nllb(tmp_path / "nllb")
    model = load_model(folder, target="de")
    assert isinstance(model, EncoderDecoder)
    codes = [pair.target for pair in model.pairs]
    assert codes[0] == "de" and {"fr", "zho_Hans", "zho_Hant"} <= set(codes) and "en" not in codes
    assert len(codes) == len(set(codes)) > 190
    pairs, read = [Pair(source="en", target=code) for code in ("fr", "de")], list[int]()
    encode = texts.Direct.encode

    def counted(self: texts.Direct, source: Sequence[int]) -> Tensor:
        read.append(len(source))
        return encode(self, source)

    monkeypatch.setattr(texts.Direct, "encode", counted)
    said = [translated(one) for one in side_by_side(model, pairs)]
    assert len(read) == 1
    assert said == [translated(load_model(folder, target=pair.target)) for pair in pairs]
    assert said[0] != said[1]


def translated(model: Translator) -> tuple[int, ...]:
    session = model.open()
    assert isinstance(session, TextTranslatorSession)
    session.extend_text("a text of a few words".split(), is_final=True)
    return session.hypothesise((), Query(max_new=8))[0].ids


@pytest.mark.parametrize(
    ("make", "codes"),
    [
        (tiny_t5, ["fr", "de", "ro"]),
        (partial(tiny_marian, targets=("deu", "fra", "zho")), ["fr", "de", "zh"]),
        (tiny_marian, []),
    ],
)
def test_targets_of_other_text_models(tmp_path: Path, make: Callable[[Path], Path], codes: list[str]) -> None:
    model = load_model(make(tmp_path / "model"), target="fr")
    assert [pair.target for pair in pairs_of(model)] == codes


def test_a_cascade_has_one_recogniser_for_all_targets_of_its_text_model(tmp_path: Path) -> None:
    tiny_moonshine(tmp_path / "asr")
    tiny_nllb(tmp_path / "text")
    model = load_model(f"{tmp_path}/asr+{tmp_path}/text")
    assert isinstance(model, Cascade)
    pairs, audio = [Pair(source="en", target=code) for code in ("fr", "es")], noise(6, 1.5)
    together = Stream(side_by_side(model, pairs), "wait_k-3").hear(audio, 4)
    for pair, said in zip(pairs, together.said, strict=True):
        assert said == Stream([model.for_pair(pair)], "wait_k-3").hear(audio, 2).said[0]
    assert together.said[0] != together.said[1]


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
