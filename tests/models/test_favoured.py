"""A glossary on the embedded model: the term comes out, whatever the pieces, the policy and the neighbours."""

from pathlib import Path

import numpy as np
import pytest
import torch

from simulst import Session
from simulst.audio import open_file
from simulst.core.favoured import Favouring
from simulst.core.glossary import Glossary, parse_glossary
from simulst.core.translator import DECODING, FloatArray, Query, Translator
from simulst.errors import GlossaryError
from simulst.models.decoding import Rules
from simulst.models.speech_llm.batching import Batcher
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.policies import load_policy
from simulst.testing.scripted import ScriptedTranslator, ToyVocabulary

TALK = Path(__file__).parents[2] / "examples" / "talk.flac"
STORY = parse_glossary("story\tErzählung\nhouse\tHäuschen")
SPEECH = parse_glossary("story\tHandlung")


@pytest.fixture(scope="module")
def talk() -> FloatArray:
    """I want to tell you a story about my grandfather. He lived in a small house."""
    with open_file(TALK) as stream:
        return np.concatenate(list(stream))[16_000 * 4 : 16_000 * 12]


def say(
    model: Translator, talk: FloatArray, glossary: Glossary | None, *, policy: str = "stream_att", size: int = 8_000
) -> str:
    session = Session(model, load_policy(policy), glossary=glossary)
    for at in range(0, len(talk), size):
        session.feed(talk[at : at + size])
    session.finish()
    return session.text


def test_scores_of_favoured_tokens_rise_before_they_are_chances() -> None:
    class Two:
        def boosts(self, ids: tuple[int, ...]) -> dict[int, float]:
            return {2: 3.0} if not ids else {}

    rules = Rules(eos=0, max_new=5, favoured=Two())  # type: ignore[arg-type]
    logits = torch.zeros(2, 4)
    expected = torch.log_softmax(torch.tensor([[0.0, 0, 3, 0], [0, 0, 0, 0]]), dim=-1)
    torch.testing.assert_close(rules.allowed(logits, [(), (1,)]), expected)
    assert not logits.any()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["stream_att", "local_agreement", "read_write", "blockwise_beam"])
def test_the_translation_has_the_term(model: SpeechLLMTranslator, talk: FloatArray, policy: str) -> None:
    assert "Häuschen" not in say(model, talk, None, policy=policy)
    assert "Häuschen" in say(model, talk, STORY, policy=policy)


@pytest.mark.slow
def test_pieces_of_any_size_say_the_same(model: SpeechLLMTranslator, talk: FloatArray) -> None:
    whole = say(model, talk, STORY, size=len(talk))
    assert "Erzählung" in whole
    assert say(model, talk, STORY, size=1_237) == whole


@pytest.mark.slow
def test_streams_with_other_terms_do_not_touch(model: SpeechLLMTranslator, talk: FloatArray) -> None:
    talk = talk[24_000:96_000]  # I want to tell you a story about my grandfather.
    alone = [say(model, talk, glossary) for glossary in (STORY, SPEECH, None)]
    assert len(set(alone)) == 3
    sessions = [Session(model, load_policy("stream_att"), glossary=glossary) for glossary in (STORY, SPEECH, None)]
    for at in range(0, len(talk), 8_000):
        for session in sessions:
            session.feed(talk[at : at + 8_000])
    for session in sessions:
        session.finish()
    assert [session.text for session in sessions] == alone
    batcher = Batcher(model, streams=3)
    assert batcher.map(lambda shared, glossary: say(shared, talk, glossary), (STORY, SPEECH, None)) == alone


@pytest.mark.slow
def test_without_a_boost_or_a_term_that_is_heard_nothing_changes(model: SpeechLLMTranslator, talk: FloatArray) -> None:
    plain = say(model, talk, None)
    assert say(model, talk, parse_glossary("story\tErzählung", boost=0)) == plain
    assert say(model, talk, parse_glossary("aeroplane\tFlugzeug")) == plain


def test_text_models_favour_terms_too(model: SpeechLLMTranslator) -> None:
    text = model.open().text
    favoured = Favouring(parse_glossary("dog\tHaustier", boost=20), model.vocabulary).favoured("the dog is old", ())
    said = [
        model.vocabulary.decode(text.search_text("The dog is old.", (), query, max_new=20)[0].ids)
        for query in (Query(), Query(favoured=favoured), Query(favoured=favoured, n_best=3))
    ]
    assert ["Haustier" in one for one in said] == [False, True, True]


def test_models_and_policies_that_take_none_say_so(model: SpeechLLMTranslator) -> None:
    for policy in ("taf", "streamuni"):
        with pytest.raises(GlossaryError, match=f"Policy {policy} .* a glossary is not followed; choose another"):
            Session(model, load_policy(policy), glossary=STORY)
    with pytest.raises(GlossaryError, match="does not tell which words it hears"):
        Session(
            ScriptedTranslator(vocabulary=ToyVocabulary(), provides=DECODING), load_policy("wait_k"), glossary=STORY
        )
