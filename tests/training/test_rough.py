"""Source text as a recogniser writes it."""

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from simulst.models.speech_llm.vocabulary import SentencePieceVocabulary
from simulst.training.rough import COMMA, LONGEST_TWICE, SMALL, RoughText, merged, repeated
from simulst.training.sample import Marks, SampleConfig
from simulst.training.samples import Sampler
from simulst.training.texts import Corpus, Part

RUN = ["They came home.", "He was tired!", "I'm glad.", "Is it late?"]
GERMAN = ["Sie kamen heim.", "Er war müde!", "Ich bin froh.", "Ist es spät?"]


@pytest.fixture(scope="module")
def vocabulary() -> SentencePieceVocabulary:
    models = Path(__file__).parents[2] / "simulst" / "models"
    return SentencePieceVocabulary(models / "tiny-en-de" / "vocabulary.model")


def rough(vocabulary: SentencePieceVocabulary, **shares: float) -> RoughText:
    return RoughText(vocabulary.processor, SampleConfig(**shares))  # type: ignore[arg-type]


def test_borders_lose_their_mark_and_the_last_sentence_keeps_its_own(vocabulary: SentencePieceVocabulary) -> None:
    pieces, made, rng = vocabulary.processor, rough(vocabulary, text_merged_share=1.0), random.Random(1)
    run = [pieces.encode(one) for one in RUN]
    seen: Counter[str] = Counter()
    for _ in range(400):
        texts = [pieces.decode(ids) for ids in made(run, rng)]
        assert len(texts) == 4 and texts[3].endswith("late?")
        assert all(one[-1] not in ".!?" for one in texts[:3])
        assert [one.rstrip(",.!?").lower() for one in texts] == [one.rstrip(".!?").lower() for one in RUN]
        assert texts[0].startswith("They") and texts[2].startswith("I'm")
        seen["comma"] += texts[0].endswith(",")
        seen["small"] += texts[1].startswith("he")
    assert seen["comma"] / 400 == pytest.approx(COMMA, abs=0.08)
    assert seen["small"] / 400 == pytest.approx(SMALL, abs=0.08)


def test_words_stand_twice_next_to_each_other() -> None:
    rng, text = random.Random(2), "He read the newspaper in the garden behind his house."
    words = text.split()
    for _ in range(300):
        said = repeated(text, rng).split()
        extra = len(said) - len(words)
        assert 1 <= extra <= LONGEST_TWICE and said[-1] == "house."
        assert any(
            said[k : k + extra] == said[k + extra : k + 2 * extra] and said[:k] + said[k + extra :] == words
            for k in range(len(words))
        )
    assert repeated("Go!", rng) == "Go!"


def test_names_of_the_speaker_stay_large() -> None:
    drawn = {merged("He came.", second, random.Random(k)) for k in range(50) for second in ("I saw.", "I've gone.")}
    assert {second for _, second in drawn} == {"I saw.", "I've gone."}
    assert {first for first, _ in drawn} == {"He came", "He came,"}


def test_nothing_changes_without_shares(vocabulary: SentencePieceVocabulary) -> None:
    run = [vocabulary.processor.encode(one) for one in RUN]
    assert rough(vocabulary)(run, random.Random(3)) == run


def test_samples_keep_the_translations_of_merged_sentences(vocabulary: SentencePieceVocabulary) -> None:
    """Sources without marks between them beside whole sentences in the other language."""
    encode = vocabulary.processor.encode
    parts = [Part(first=0, end=4, weight=1.0, ordered=False, spoken=0.0)]
    corpus = Corpus([encode(one) for one in RUN], [[encode(one)] for one in GERMAN], parts)
    config = SampleConfig(text_share_start=1, text_share_end=1, text_runs=(0.0, 1.0), text_merged_share=1.0)
    marks = Marks.of(vocabulary.processor)
    made, rng = Sampler(corpus, None, marks, config, rough=RoughText(vocabulary.processor, config)), random.Random(4)
    whole = {(*first, *second) for (first,) in corpus.target for (second,) in corpus.target}
    for _ in range(100):
        ids = made.sample(rng, 0.0).ids
        tag = ids.index(marks.target)
        assert tuple(ids[tag + 1 : -1]) in whole
        source = vocabulary.processor.decode(ids[1:tag])
        assert source[-1] in ".!?" and not set(source[:-1]) & set(".!?")


def test_every_border_is_drawn_by_itself(vocabulary: SentencePieceVocabulary) -> None:
    pieces, made, rng = vocabulary.processor, rough(vocabulary, text_merged_share=0.5), random.Random(5)
    run = [pieces.encode(one) for one in RUN]
    counts: Counter[int] = Counter()
    for _ in range(400):
        texts = [pieces.decode(ids) for ids in made(run, rng)]
        counts[sum(first[-1] not in ".!?" for first, _ in pairwise(texts))] += 1
    assert [counts[k] / 400 for k in range(4)] == pytest.approx([1 / 8, 3 / 8, 3 / 8, 1 / 8], abs=0.08)
