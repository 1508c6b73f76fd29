"""Data of the incremental tasks: word times, alignments, sequences in the order of time, group positions."""

import itertools
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.errors import DataError
from simulst.models.speech_llm.network import SpeechLLM, load_weights, read_config
from simulst.models.speech_llm.vocabulary import SentencePieceVocabulary
from simulst.testing.speech_llm import SENTENCES, make_tiny_speech_llm
from simulst.training.batch import collate
from simulst.training.features import read_talks
from simulst.training.incremental import (
    NEEDS_FILE,
    WORDS_FILE,
    Annotations,
    IncrementalSampler,
    WordClock,
    annotate_needs,
    annotate_words,
    split_words,
)
from simulst.training.interleaved import (
    InterleavedMarks,
    Labels,
    TimedSentence,
    Write,
    chunked,
    in_joint_turns,
    in_turns,
    sequence,
    unsaid,
)
from simulst.training.objective import forward
from simulst.training.recipe import read_recipe
from simulst.training.sample import Marks, Sample, SampleConfig
from simulst.training.samples import Sampler, open_vectors
from simulst.training.texts import Corpus, TextSource
from simulst.training.word_alignment import align, grow_diag, latest_source_words, words
from simulst.training.word_times import FloatArray, ends_by_ctc, ends_by_length, forced_alignment

SENTENCE = TimedSentence(ends=(3, 5, 9, 12), words=((20,), (21, 22), (23,), (24, 25)), needs=(0, 2, 2, 3))
"""Four source words; the second and third target word wait for the third source word."""
MARKS = InterleavedMarks(prompt=(4, 5), tags={"low": 10, "high": 14}, read=8, write=9)


def test_words_are_lower_case_without_punctuation() -> None:
    assert words('Er sagte: "Ja!" - 3,5 km.') == ["er", "sagte", "ja", "-", "3,5", "km"]


def test_the_own_aligner_learns_a_lexicon_with_words_that_change_places() -> None:
    rng, pairs, truth = random.Random(0), list[tuple[list[str], list[str]]](), list[set[tuple[int, int]]]()
    for _ in range(400):
        source = [rng.randrange(40) for _ in range(rng.randint(3, 7))]
        order = list(range(len(source)))
        at = rng.randrange(len(source) - 1)
        order[at], order[at + 1] = order[at + 1], order[at]
        pairs.append(([f"s{w}" for w in source], [f"t{source[i]}" for i in order]))
        truth.append({(i, place) for place, i in enumerate(order)})
    found = align(pairs, "ibm2")
    right = sum(len(one & set(links)) for one, links in zip(truth, found, strict=True))
    assert right / sum(map(len, found)) > 0.97
    assert right / sum(map(len, truth)) > 0.97
    assert align([([], ["a"]), ([], [])], "ibm2") == [frozenset(), frozenset()]


def test_eflomal_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        DataError, match="The aligner eflomal is not installed; run `pip install eflomal` or use method"
    ):
        align([(["a"], ["b"])], "eflomal")


def test_grow_diag_adds_neighbours_that_cover_a_new_word() -> None:
    assert grow_diag({(0, 0), (1, 1)}, {(0, 0), (1, 2)}) == {(0, 0), (1, 1), (1, 2)}
    assert grow_diag({(0, 0), (5, 5)}, {(0, 0)}) == {(0, 0)}


def test_target_words_wait_for_their_source_and_for_words_before_them() -> None:
    assert latest_source_words({(0, 0), (3, 1), (1, 2), (4, 3)}, 5, 4) == [0, 3, 3, 4]
    assert latest_source_words({(0, 0), (2, 2)}, 5, 4) == [0, 2, 2, 4]  # the second waits with the third
    assert latest_source_words(set(), 2, 3) == [1, 1, 1]
    assert latest_source_words(set(), 0, 2) == [0, 0]


def scores(rows: list[str], symbols: str) -> FloatArray:
    """Log-probabilities in which each row prefers one symbol."""
    chances = [[0.9 if s == row else 0.1 / (len(symbols) - 1) for s in symbols] for row in rows]
    logs: FloatArray = np.log(np.array(chances)).astype(np.float32)
    return logs


def test_forced_alignment_finds_the_last_frame_of_each_token() -> None:
    log_probs = scores(list("-aa-b--bb"), "-ab")
    assert forced_alignment(log_probs, [1, 2, 2], 0) == [2, 4, 8]
    assert forced_alignment(log_probs[:2], [1, 2, 2], 0) is None
    assert forced_alignment(log_probs, [], 0) == []
    ends = ends_by_ctc(log_probs, [1, 2, 2], 0, lambda token: token == 1)
    assert ends == [9]
    assert ends_by_ctc(log_probs, [2, 1, 2], 0, lambda token: token == 1) is not None


def test_words_without_ctc_are_spread_by_their_letters() -> None:
    assert ends_by_length([1, 3, 1], 10.0, 20.0) == [12, 18, 20]
    assert ends_by_length([], 0, 1) == []


def test_latency_says_how_many_more_words_are_heard() -> None:
    def shape(latency: str, vectors: int = 20) -> list[tuple[int, int]]:
        return [(write.after, len(write.ids)) for write in chunked([SENTENCE], latency, vectors)]

    assert shape("low") == [(3, 1), (9, 3), (12, 2)]
    assert shape("low-medium") == [(5, 1), (12, 5)]
    assert shape("medium") == [(9, 1), (12, 5)]
    assert shape("medium-high") == shape("high") == [(12, 6)]
    assert shape("low", 8) == [(3, 1)]
    assert shape("high", 11) == []


def test_latency_tags_are_monotone_in_delay() -> None:
    longer = TimedSentence(ends=tuple(range(2, 30, 3)), words=tuple((i,) for i in range(10)), needs=tuple(range(10)))
    delays = []
    for latency in ("low", "low-medium", "medium", "medium-high", "high"):
        delays.append([write.after for write in chunked([SENTENCE, longer], latency, 40) for _ in write.ids])
    for earlier, slower in itertools.pairwise(delays):
        assert all(a <= b for a, b in zip(earlier, slower, strict=True))
        assert sum(earlier) < sum(slower)


def test_what_the_end_of_a_stream_forces_out() -> None:
    writes = chunked([SENTENCE], "high", 10)
    assert writes == []
    assert unsaid([SENTENCE], writes, 10) == (20, 21, 22, 23)
    assert unsaid([SENTENCE], chunked([SENTENCE], "low", 10), 10) == ()


def test_turns_write_at_every_border_and_at_the_end() -> None:
    found = in_turns([SENTENCE], 4, 14)
    assert found == [
        Write(after=4, ids=(20,)),
        Write(after=8, ids=()),
        Write(after=12, ids=(21, 22, 23, 24, 25)),
        Write(after=14, ids=()),
    ]


SPOKEN = replace(SENTENCE, source=((30,), (31,), (32, 33), (34,)))
EN, DE = 6, 5


def test_turns_in_two_languages_are_in_the_order_of_time() -> None:
    assert in_joint_turns([SPOKEN], 4, 14, (EN, DE)) == [
        Write(after=4, ids=(30, DE, 20)),
        Write(after=8, ids=(31,)),
        Write(after=12, ids=(32, 33, DE, 21, 22, 23, EN, 34, DE, 24, 25)),
        Write(after=14, ids=()),
    ]
    assert in_joint_turns([SPOKEN], 4, 10, (EN, DE))[-1] == Write(after=10, ids=(32, 33, DE, 21, 22, 23))
    late = TimedSentence(ends=(2, 4), words=((20,), (21,)), needs=(1, 1), source=((30,), (31,)))
    assert in_joint_turns([late], 3, 6, (EN, DE)) == [
        Write(after=3, ids=(30,)),
        Write(after=6, ids=(31, DE, 20, 21)),
    ]


def test_speech_that_begins_inside_a_sentence_leaves_what_was_due_before_unsaid() -> None:
    rest = SPOKEN.begun(4)
    assert rest == TimedSentence(
        ends=(1, 5, 8), words=((21, 22), (23,), (24, 25)), needs=(1, 1, 2), source=((31,), (32, 33), (34,))
    )
    assert SPOKEN.begun(0) == SPOKEN
    assert in_turns([rest], 4, 10) == [
        Write(after=4, ids=()),
        Write(after=8, ids=(21, 22, 23, 24, 25)),
        Write(after=10, ids=()),
    ]
    assert SPOKEN.begun(11) == TimedSentence(ends=(1,), words=((24, 25),), needs=(0,), source=((34,),))


def test_a_sequence_says_read_before_vectors_and_write_before_text() -> None:
    writes = [Write(after=2, ids=(20,)), Write(after=3, ids=(21, 22))]
    labels = Labels(decision=0.5, kept_reads=1.0)
    ids, weights = sequence(writes, 4, MARKS, "low", labels, random.Random(0), decides=True, flush=())
    v = -1 - 8
    assert ids == [4, 5, 10, v, v, 9, 20, 8, v, 9, 21, 22, 8, v, 9, 8]
    assert weights == [0, 0, 0, 0.5, 0.5, 0.5, 1, 1, 0.5, 0.5, 1, 1, 1, 0.5, 0, 1]
    ids, weights = sequence(writes, 4, MARKS, "high", labels, random.Random(0), decides=False)
    assert ids[2] == 14 and [w for token, w in zip(ids, weights, strict=True) if token in (v, 9)] == [0.0] * 6


# -- on a tiny model ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def vocabulary(folder: Path) -> SentencePieceVocabulary:
    return SentencePieceVocabulary(folder / "vocabulary.model")


@pytest.fixture(scope="module")
def model(folder: Path) -> SpeechLLM:
    return load_weights(folder, read_config(folder))


@pytest.fixture(scope="module")
def corpus(vocabulary: SentencePieceVocabulary, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    path = tmp_path_factory.mktemp("text") / "pairs.tsv"
    source, target = (SENTENCES[0], SENTENCES[1], SENTENCES[4]), (SENTENCES[2], SENTENCES[3], SENTENCES[5])
    rows = [*zip(source, target, strict=True), (source[2], target[0])]
    path.write_text("".join(f"{e}\t{d}\n" for e, d in rows))
    return Corpus.of([(TextSource(path=str(path)), path)], vocabulary.processor)


@pytest.fixture(scope="module")
def features(
    corpus: Corpus, vocabulary: SentencePieceVocabulary, model: SpeechLLM, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two talks of random vectors (width 128), annotated with the CTC of a model that knows nothing."""
    path = tmp_path_factory.mktemp("features")
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(150, 128, generator=generator).to(torch.bfloat16).view(torch.uint16).numpy()
    (path / "vectors.bf16").write_bytes(vectors.tobytes())
    talks = [
        {"first": 0, "count": 110, "voice": "v", "sentences": [[0, 3.2, 38.0], [1, 42.5, 68.1], [2, 73.0, 107.7]]},
        {"first": 110, "count": 40, "voice": "v", "sentences": [[1, 2.0, 35.0]]},
    ]
    (path / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    annotate_needs(corpus, vocabulary.processor, path / NEEDS_FILE, "ibm2")
    clock = WordClock(vocabulary=vocabulary.processor, model=model, blank=Marks.of(vocabulary.processor).blank)
    talk_list = read_talks(path)
    annotate_words(talk_list[:1], open_vectors(path, 128), corpus.source, clock, path / WORDS_FILE)
    spread = replace(clock, model=None)
    annotate_words(talk_list, None, corpus.source, spread, path / WORDS_FILE)  # goes on with the second talk
    return path


def sampler(features: Path, corpus: Corpus, vocabulary: SentencePieceVocabulary, **shares: float) -> Sampler:
    marks = Marks.of(vocabulary.processor)
    config = SampleConfig(text_share_start=0, text_share_end=0, silent_share=0, **shares)  # type: ignore[arg-type]
    later = IncrementalSampler(Annotations.read(features), corpus, vocabulary.processor, marks, config)
    return Sampler(corpus, features, marks, config, later if any(shares.values()) else None)


def test_annotations_cover_every_word(features: Path, corpus: Corpus, vocabulary: SentencePieceVocabulary) -> None:
    found = Annotations.read(features)
    assert [len(talk) for talk in found.ends] == [3, 1]
    for talk, ends in zip(read_talks(features), found.ends, strict=True):
        for (number, begin, finish), times in zip(talk.sentences, ends, strict=True):
            assert len(times) == len(split_words(corpus.source[number], vocabulary.processor))
            assert times == sorted(times)
            assert begin - 1 <= times[0] and times[-1] <= math.ceil(finish) + 2
    assert [len(group) for group in found.needs] == [1, 1, 2]
    with pytest.raises(DataError, match=r"cannot be read .* run the stage annotate"):
        Annotations.read(features / "nothing")


@pytest.mark.parametrize("task", ["read_write_share", "turn_share"])
def test_samples_hold_a_run_of_sentences_from_its_beginning(
    features: Path, corpus: Corpus, vocabulary: SentencePieceVocabulary, task: str
) -> None:
    made, rng = sampler(features, corpus, vocabulary, **{task: 1.0}), random.Random(0)
    assert made.incremental is not None
    marks = made.incremental.marks
    for _ in range(150):
        sample = made.sample(rng, 0.0)
        assert sample.vectors is not None
        assert len(sample.ids) == len(sample.weights)
        vectors = sum(token < 0 for token in sample.ids)
        assert vectors == sample.vectors[1] - sample.vectors[0]
        assert all(token in (-1 - marks.read,) for token in sample.ids if token < 0)
        assert sample.ids.count(marks.write) == sample.ids.count(marks.read)
        assert sample.ids[0] == made.marks.speech and sample.ids[2] in marks.tags.values()
        said = [t for t in sample.ids[3:] if t >= 0 and t not in (marks.read, marks.write)]
        assert _prefix_of_a_run(said, corpus)


def test_a_joint_sample_holds_transcript_and_translation(
    features: Path, corpus: Corpus, vocabulary: SentencePieceVocabulary
) -> None:
    made, rng = sampler(features, corpus, vocabulary, joint_share=1.0, truncated_share=0.0), random.Random(0)
    assert made.incremental is not None
    marks, tags, both = made.incremental.marks, set[int](), (made.marks.source, made.marks.target)
    whole = 0  # of others the last word is over only after the end
    for _ in range(150):
        sample = made.sample(rng, 0.0)
        tags.add(sample.ids[2])
        said: dict[int, list[int]] = {mark: [] for mark in both}
        language = both[0]
        for token in sample.ids[3:]:
            language = both[0] if token == marks.write else token if token in both else language
            if token >= 0 and token not in (*both, marks.read, marks.write):
                said[language].append(token)
        assert sample.source is not None and said[both[0]] == sample.source[: len(said[both[0]])]
        whole += said[both[0]] == sample.source
        assert _prefix_of_a_run(said[both[1]], corpus)
        counted = [w for token, w in zip(sample.ids, sample.weights, strict=True) if token >= 0 and token in both]
        assert set(counted[1:]) <= {1.0}  # the first stands in the prompt
    assert whole > 50
    assert tags == {vocabulary.mark(f"<spare{n}>") for n in (4, 5, 6, 7)}


@pytest.mark.parametrize("task", ["read_write_share", "turn_share", "joint_share"])
def test_robust_samples_begin_inside_the_first_sentence(
    features: Path, corpus: Corpus, vocabulary: SentencePieceVocabulary, task: str
) -> None:
    whole, cut = 0, 0
    plain = [list(sentence) for sentence in corpus.source]
    made = sampler(features, corpus, vocabulary, robust_share=1.0, truncated_share=0.0, **{task: 1.0})
    rng = random.Random(1)
    for _ in range(200):
        sample = made.sample(rng, 0.0)
        assert sample.vectors is not None and sample.source is not None
        assert sum(token < 0 for token in sample.ids) == sample.vectors[1] - sample.vectors[0] >= 1
        runs = [[t for ids in plain[a:b] for t in ids] for a in range(3) for b in range(a + 1, 4)]
        assert any(run[len(run) - len(sample.source) :] == sample.source for run in runs)
        begins = any(run == sample.source for run in runs)
        whole, cut = whole + begins, cut + (not begins)
    assert whole > 5 and cut > 50


def _prefix_of_a_run(said: list[int], corpus: Corpus) -> bool:
    """Whether tokens begin a run of translations of consecutive sentences of the talks."""
    runs = [corpus.target[0], corpus.target[1], corpus.target[2]]
    for first in range(3):
        for choice in itertools.product(*runs[first:]):
            whole = [token for ids in choice for token in ids]
            if whole[: len(said)] == said:
                return True
    return False


def test_every_task_share_of_zero_leaves_samples_as_they_were(
    features: Path, corpus: Corpus, vocabulary: SentencePieceVocabulary
) -> None:
    marks = Marks.of(vocabulary.processor)
    plain = Sampler(corpus, features, marks, SampleConfig())
    same = Sampler(corpus, features, marks, SampleConfig(), None)
    one, two = random.Random(3), random.Random(3)
    assert [plain.sample(one, 0.5) for _ in range(50)] == [same.sample(two, 0.5) for _ in range(50)]


def test_vectors_carry_their_label_and_old_sequences_none() -> None:
    v = -1 - 8
    batch = collate([Sample([4, v, v, 9], [0.0, 0.5, 0.0, 0.5]), Sample([4, -1, 6], [0.0, 0.0, 1.0])], None, 8)
    assert batch.ids.tolist() == [[4, 8, 8, 9], [4, 0, 6, 0]]
    assert batch.is_speech.tolist() == [[False, True, True, False], [False, True, False, False]]
    assert batch.mask is None and batch.positions is None


def test_a_grouped_batch_gives_every_sample_what_it_gets_alone(
    features: Path, corpus: Corpus, vocabulary: SentencePieceVocabulary, model: SpeechLLM
) -> None:
    made, rng = sampler(features, corpus, vocabulary, grouped_share=1.0), random.Random(0)
    plain = sampler(features, corpus, vocabulary)
    samples = [made.sample(rng, 0.0) for _ in range(3)] + [plain.sample(rng, 0.0)]
    vectors = open_vectors(features, 128)
    for sample in samples[:3]:
        assert sample.visible is not None
        assert sample.visible == sorted(sample.visible)
        assert sample.visible[-1] == len(sample.ids) - len(sample.visible)
    together = collate(samples, vectors, 128)
    assert together.mask is not None and together.mask.shape[1] == 1
    with torch.no_grad():
        logits = forward(model, together)[0]
        alone = [forward(model, collate([sample], vectors, 128))[0] for sample in samples]
    assert logits.sub(torch.cat(alone)).abs().max() < 1e-4


def test_a_recipe_may_go_on_with_incremental_tasks(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'name = "x"\nwork = "w"\n[data]\ntrain = "t"\ndev = "d"\n[data.voices]\na = 1.0\n[data.dev_voices]\na = 1.0\n'
        '[model]\nencoder = "e"\n[incremental]\nsteps = 10\n[incremental.samples]\nread_write_share = 0.3\n'
    )
    recipe = read_recipe(tmp_path / "r.toml")
    assert recipe.incremental is not None
    assert recipe.incremental.samples.read_write_share == 0.3
    assert recipe.decoder is not None and recipe.decoder.samples.read_write_share == 0.0
