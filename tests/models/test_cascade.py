from pathlib import Path

import numpy as np
import pytest

from simulst import Session, load_model, load_policy
from simulst.core.translator import Evidence
from simulst.errors import ModelError, PolicyError
from simulst.models.cascade import Cascade, HeardWord, Options
from simulst.testing import ToyTranslator, toy_audio
from simulst.testing.checkpoints import tiny_whisper
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.testing.toy import toy_text

WORDS = [5, 17, 0, 31, 2, 41, 8, 0, 0, 23, 44, 7]


@pytest.fixture
def cascade() -> Cascade:
    """Both sides are toys: the recogniser says w5 or v4, the text side repeats it."""
    return Cascade(ToyTranslator(), ToyTranslator(), name="toy+toy", options=Options())


@pytest.mark.parametrize("policy", ["offline", "wait_k-adaptive", "local_agreement", "taf"])
def test_policies_translate_what_the_recogniser_committed(cascade: Cascade, policy: str) -> None:
    session = Session(cascade, load_policy(policy), chunk_ms=320)
    for piece in np.array_split(toy_audio(WORDS), 17):
        session.feed(piece)
    session.finish()
    assert session.text == toy_text(WORDS)


def test_words_come_with_the_time_of_their_audio(cascade: Cascade) -> None:
    session = cascade.open()
    seen = []
    for piece in np.array_split(toy_audio(WORDS), 12):
        session.extend_source(piece)
        seen.append(session.source_words())
    session.extend_source(np.zeros(0, dtype=np.float32), is_final=True)
    seen.append(session.source_words())
    assert seen == sorted(seen) and seen[-1] == 9 and seen[4] >= 2
    assert session.transcript() == "w5 w17 w31 v2 w41 v8 w23 v44 w7"
    said = [i for i, word in enumerate(WORDS) if word]
    for heard, slot in zip(session._words, said, strict=True):
        assert slot * 0.32 - 0.32 <= heard.end_s <= slot * 0.32 + 0.64
    session.drop_source(session._words[3].end_s + 0.001)
    assert session.transcript() == "w41 v8 w23 v44 w7" and session.source_words() == 9
    assert session.start_s == pytest.approx(session._words[0].end_s, abs=1.0)


def test_pieces_without_a_space_belong_to_the_last_word(cascade: Cascade) -> None:
    session = cascade.open()
    for text, end_s in (("w5", 1.0), (" w17 v", 3.0), ("4", 3.5), (".", 4.0), (" w7", 3.0)):
        session._heard_s = 5.0
        session._append(text, end_s)
    words = [("w5", 1.0), ("w17", 2.0), ("v4.", 4.0), ("w7", 4.0)]
    assert session._words == tuple(HeardWord(text=text, end_s=end_s) for text, end_s in words)


def test_what_it_cannot_give_is_refused(cascade: Cascade) -> None:
    assert Evidence.ALIGNMENT not in cascade.provides
    with pytest.raises(PolicyError, match=r"which model toy\+toy does not provide"):
        Session(cascade, load_policy("stream_att"))
    with pytest.raises(ModelError, match=r"^Policy 'retranslation' takes words back; a recogniser must commit them\.$"):
        Cascade(ToyTranslator(), ToyTranslator(), name="x", options=Options(recogniser_policy="retranslation"))
    with pytest.raises(ModelError, match="'recogniser_chunk_ms' is 1; it must be at least 20"):
        Options(recogniser_chunk_ms=1)


def test_two_directories_make_a_cascade(tmp_path: Path) -> None:
    first, second = tiny_whisper(tmp_path / "asr", brevity=5.0), make_tiny_speech_llm(tmp_path / "text")
    model = load_model(f"{first}+{second}", recogniser_chunk_ms="1000")
    assert isinstance(model, Cascade) and model.recogniser.task == "transcribe"  # type: ignore[attr-defined]
    noise = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
    session = Session(model, load_policy("offline"))
    session.feed(noise)
    assert session.finish()[-1].text == session.text
    with pytest.raises(ModelError, match=r"cannot translate text; use one that provides source_lm"):
        load_model(f"{first}+{first}")
    with pytest.raises(ModelError, match=r"^Unknown model 'nope'"):
        load_model(f"{first}+nope")
