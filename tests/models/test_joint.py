"""Transcript and translation in one text: two streams out of one pass, on a tiny random model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from simulst.core.beside import feed_all, finish_all
from simulst.core.events import Event, WriteEvent
from simulst.core.glossary import Glossary, Term
from simulst.core.languages import Pair, side_by_side
from simulst.core.session import Session
from simulst.core.translator import Evidence, FloatArray, ReadWrite
from simulst.errors import GlossaryError, ModelError, PolicyError
from simulst.models import load_model
from simulst.models.speech_llm.joint import JointStream, own_language
from simulst.models.speech_llm.session import SpeechLLMSession
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.models.speech_llm.vocabulary import SentencePieceVocabulary
from simulst.policies import load_policy
from simulst.testing.speech_llm import make_tiny_speech_llm

pytestmark = pytest.mark.slow

DE, EN = Pair(source="en", target="de"), Pair(source="en", target="en")
Said = list[tuple[str, int, float, float | None]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that changes the language every few tokens: the marks are like pieces that it writes often."""
    made = make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")
    vocabulary = SentencePieceVocabulary(made / "vocabulary.model")
    tensors = load_file(made / "model.safetensors")
    embeddings = tensors["decoder.model.embed_tokens.weight"]
    for mark in ("<en>", "<de>"):
        embeddings[vocabulary.mark(mark)] = 0.9 * (embeddings[299] + embeddings[319])
    save_file(tensors, made / "model.safetensors", metadata={"format": "pt"})
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> SpeechLLMTranslator:
    found = load_model(folder, no_repeat_ngram=0)
    assert isinstance(found, SpeechLLMTranslator)
    return found


def noise(seed: int, seconds: float = 9.0) -> FloatArray:
    generator = np.random.default_rng(seed)
    loud = np.repeat(generator.uniform(0, 0.3, round(seconds * 4)), 4_000)
    return (generator.standard_normal(len(loud)) * loud).astype(np.float32)


class Stream:
    """One stream in several languages, and what was said in each."""

    def __init__(self, model: SpeechLLMTranslator, pairs: list[Pair], *, entries: int = 320, seconds: int = 24) -> None:
        settings = {"history.max_entries": entries, "history.max_audio_s": seconds}
        models = side_by_side(model, pairs) if len(pairs) > 1 else [model.for_pair(pair) for pair in pairs]
        self.sessions = [Session(one, load_policy("joint", **settings)) for one in models]
        self.said: list[Said] = [[] for _ in pairs]

    def take(self, events: list[list[Event]]) -> None:
        for said, new in zip(self.said, events, strict=True):
            said += [(e.text, e.retract, e.audio_s, e.start_s) for e in new if isinstance(e, WriteEvent)]

    def hear(self, audio: FloatArray, pieces: int) -> "Stream":
        for piece in np.array_split(audio, pieces):
            self.take(feed_all(self.sessions, piece))
        self.take(finish_all(self.sessions))
        return self


@pytest.mark.parametrize(("entries", "seconds"), [(320, 24), (60, 24), (320, 3)])
def test_each_language_says_what_it_says_alone_and_is_decoded_once(
    model: SpeechLLMTranslator, entries: int, seconds: int
) -> None:
    audio = noise(1)
    together = Stream(model, [DE, EN], entries=entries, seconds=seconds).hear(audio, 17)
    for pair, said in zip((DE, EN), together.said, strict=True):
        for pieces in (1, 5):
            assert said == Stream(model, [pair], entries=entries, seconds=seconds).hear(audio, pieces).said[0]
    texts = [session.text for session in together.sessions]
    assert min(len(text.split()) for text in texts) > 5 and texts[0] != texts[1]
    assert not any(mark in text for text in texts for mark in ("<en>", "<de>", "<read>", "<write>"))
    first, second = (session.decoder_positions for session in together.sessions)
    assert first and second == 0


def test_two_streams_do_not_touch(model: SpeechLLMTranslator) -> None:
    audio = [noise(2), noise(3)]
    streams = [Stream(model, [DE, EN]) for _ in audio]
    for pieces in zip(*(np.array_split(one, 9) for one in audio), strict=True):
        for stream, piece in zip(streams, pieces, strict=True):
            stream.take(feed_all(stream.sessions, piece))
    for stream, one in zip(streams, audio, strict=True):
        stream.take(finish_all(stream.sessions))
        assert stream.said == Stream(model, [DE, EN]).hear(one, 1).said


def listening(model: SpeechLLMTranslator, seconds: float) -> SpeechLLMSession:
    session = model.open()
    session.extend_source(noise(4, seconds))
    return session


PLAN = ReadWrite(joint=True, turn=1, max_new=lambda words: 12, most=1 << 20)


def test_every_token_is_the_likeliest_that_is_allowed(model: SpeechLLMTranslator) -> None:
    session, weights = listening(model, 4.0), model.weights
    session.read_write((), PLAN)
    stream = session._interleaved
    assert isinstance(stream, JointStream)
    find, vectors = model.vocabulary.mark, session._hearing.vectors
    marks = (find("<en>"), find("<de>"))
    assert [entry.value for entry in stream.entries[:3]] == [find("<sp>"), find("<de>"), find("<spare4>")]
    embeds = [
        vectors[entry.value] if entry.kind == "vector" else weights.embed([entry.value])[0] for entry in stream.entries
    ]
    with torch.no_grad():
        logits = weights.model.decoder(inputs_embeds=torch.stack(embeds)[None]).logits[0]
    changes, language = 0, marks[0]
    for i, entry in enumerate(stream.entries[1:], 1):
        if entry.kind == "write":
            language = marks[0]
        if entry.kind not in ("token", "aside", "read"):
            continue
        before, scores = stream.entries[i - 1].value, logits[i - 1].clone()
        end = torch.maximum(scores[find("<read>")], scores[weights.vocabulary.eos])
        scores[weights.suppress] = -torch.inf
        scores[weights.vocabulary.eos] = -torch.inf
        scores[find("<read>")] = end
        if before not in marks:
            other = marks[marks[0] == language]
            scores[other] = logits[i - 1, other]
        full = entry.kind == "read" and [e.kind for e in stream.entries[i - 12 : i]].count("write") == 0
        assert full or int(scores.argmax()) == entry.value
        changes += entry.value in marks
        language = entry.value if entry.value in marks else language
    assert changes > 3


def test_what_was_not_committed_is_taken_back(model: SpeechLLMTranslator) -> None:
    session = listening(model, 4.0)
    ids = session.read_write((), PLAN, want=frozenset({Evidence.ALIGNMENT})).ids
    assert len(ids) > 6
    session.read_write(ids[:4], PLAN)
    assert session._interleaved is not None
    assert session._interleaved.tokens[:4] == list(ids[:4])
    other = listening(model, 4.0)
    again = other.read_write((20, 21), PLAN, want=frozenset({Evidence.ALIGNMENT}))  # text that is not the stream's
    assert other._interleaved is not None and other._interleaved.tokens[:2] == [20, 21]
    assert again.alignment is not None and again.alignment.weights.shape[0] == 2 + len(again.ids)


def test_tokens_belong_to_the_language_of_the_mark_before_them() -> None:
    turn = (30, 31, 5, 20, 6, 32, 5, 21, 22)
    assert own_language(turn, (6, 5), 6) == [True, True, False, False, False, True, False, False, False]
    assert own_language(turn, (6, 5), 5) == [False, False, False, True, False, False, False, True, True]
    assert own_language((), (6, 5), 5) == []


def test_a_model_that_has_not_learned_it_is_refused(folder: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for file in folder.iterdir():
        (plain / file.name).write_bytes(file.read_bytes())
    described = (plain / "simulst.json").read_text()
    (plain / "simulst.json").write_text(described.replace('"chain",', '"chain"').replace('"joint"', ""))
    found = load_model(plain)
    assert isinstance(found, SpeechLLMTranslator)
    with pytest.raises(PolicyError, match=r"^Policy joint needs joint, which model plain does not provide; `simulst"):
        Session(found, load_policy("joint"))
    with pytest.raises(ModelError, match="was not trained to write transcript and translation in one text"):
        found.open().read_write((), PLAN)


def test_a_glossary_is_refused(model: SpeechLLMTranslator) -> None:
    with pytest.raises(GlossaryError, match="Policy joint translates text that the model makes up or writes itself"):
        Session(model, load_policy("joint"), glossary=Glossary(terms=(Term(source="cat", target="Katze"),)))
