"""Training data and steps on a tiny model: sequences, masks, resuming, recipes."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.settings import read
from simulst.errors import DataError
from simulst.models.speech_llm.network import load_weights, read_config
from simulst.models.speech_llm.vocabulary import SentencePieceVocabulary
from simulst.testing.speech_llm import SENTENCES, make_tiny_speech_llm
from simulst.training.batch import collate
from simulst.training.checkpoints import new_model
from simulst.training.computing import Computing
from simulst.training.decoder import DecoderTraining, DecoderTrainingConfig, learning_rate_scale, train_decoder
from simulst.training.objective import ctc_loss, forward
from simulst.training.picture import draw, read_series
from simulst.training.pieces import read_pieces
from simulst.training.recipe import Recipe, read_recipe
from simulst.training.sample import Marks, Sample, SampleConfig
from simulst.training.samples import Sampler, batches
from simulst.training.speech import augment, joined, trim_silence
from simulst.training.synthesis import VOICES
from simulst.training.texts import Corpus, TextSource, held_pairs, read_pairs, training_pairs
from simulst.training.vocabulary import train_vocabulary

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def vocabulary(folder: Path) -> SentencePieceVocabulary:
    return SentencePieceVocabulary(folder / "vocabulary.model")


@pytest.fixture(scope="module")
def corpus(vocabulary: SentencePieceVocabulary, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    path = tmp_path_factory.mktemp("text") / "pairs.tsv"
    source, target = (SENTENCES[0], SENTENCES[1], SENTENCES[4]), (SENTENCES[2], SENTENCES[3], SENTENCES[5])
    rows = [*zip(source, target, strict=True), (source[2], target[0])]
    path.write_text("".join(f"{e}\t{d}\n" for e, d in rows))
    return Corpus.of([(TextSource(path=str(path)), path)], vocabulary.processor)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two talks of random vectors (width 128): three sentences, then one."""
    path = tmp_path_factory.mktemp("features")
    rng = torch.Generator().manual_seed(0)
    vectors = torch.randn(90, 128, generator=rng).to(torch.bfloat16).view(torch.uint16).numpy()
    (path / "vectors.bf16").write_bytes(vectors.tobytes())
    talks = [
        {"first": 0, "count": 60, "voice": "v", "sentences": [[0, 3.2, 18.0], [1, 22.5, 38.1], [2, 43.0, 57.7]]},
        {"first": 60, "count": 30, "voice": "v", "sentences": [[1, 2.0, 25.0]]},
    ]
    (path / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks) + '{"torn')
    return path


def sampler(corpus: Corpus, features: Path, vocabulary: SentencePieceVocabulary, **changes: float) -> Sampler:
    config = SampleConfig(**changes)  # type: ignore[arg-type]
    return Sampler(corpus, features, Marks.of(vocabulary.processor), config)


def test_a_sentence_with_two_translations_is_one_sentence(corpus: Corpus) -> None:
    assert [len(target) for target in corpus.target] == [1, 1, 2]


def test_speech_samples_fit_their_vectors(corpus: Corpus, features: Path, vocabulary: SentencePieceVocabulary) -> None:
    made, rng = sampler(corpus, features, vocabulary, text_share_start=0.0, text_share_end=0.0), random.Random(1)
    for _ in range(300):
        sample = made.sample(rng, 0.0)
        assert sample.vectors is not None
        first, end = sample.vectors
        assert 0 <= first < end <= 90 and not (first < 60 < end)
        assert sum(token < 0 for token in sample.ids) == end - first
        assert len(sample.ids) == len(sample.weights)
        assert sample.ids[0] == made.marks.speech


def test_truncated_samples_have_no_end_mark(
    corpus: Corpus, features: Path, vocabulary: SentencePieceVocabulary
) -> None:
    made = sampler(
        corpus, features, vocabulary, text_share_start=0, text_share_end=0, truncated_share=1, silent_share=0
    )
    rng = random.Random(2)
    samples = [made.sample(rng, 0.0) for _ in range(100)]
    assert all(made.marks.eos not in s.ids and s.source is None for s in samples)


def test_truncated_texts_stop_on_both_sides(
    corpus: Corpus, features: Path, vocabulary: SentencePieceVocabulary
) -> None:
    """The source at a share of its last sentence, the target a token before that share of its own."""
    texts = {"text_share_start": 1, "text_share_end": 1, "text_truncated_share": 1}
    made, rng = sampler(corpus, features, vocabulary, **texts), random.Random(3)
    said = {
        (tuple(source), tuple(one))
        for source, all_of in zip(corpus.source, corpus.target, strict=True)
        for one in all_of
    }
    single = 0
    for _ in range(200):
        sample = made.sample(rng, 0.0)
        tag = sample.ids.index(made.marks.target)
        assert made.marks.eos not in sample.ids and sample.weights[: tag + 1] == [0.0] * (tag + 1)
        assert set(sample.weights[tag + 1 :]) <= {1.0} and len(sample.ids) == len(sample.weights)
        source, target = tuple(sample.ids[1:tag]), tuple(sample.ids[tag + 1 :])
        whole = [pair for pair in said if pair[0][: len(source)] == source and pair[1][: len(target)] == target]
        single += bool(whole)
        for x, y in whole:
            assert 0 < len(source) < len(x) and len(target) / len(y) <= (len(source) + 1) / len(x)
    assert single > 100


def test_text_samples_learn_the_source_a_little_and_the_target_fully(
    corpus: Corpus, features: Path, vocabulary: SentencePieceVocabulary
) -> None:
    sample = sampler(corpus, features, vocabulary, text_share_start=1, text_share_end=1).sample(random.Random(0), 0)
    tag = sample.ids.index(Marks.of(vocabulary.processor).target)
    assert sample.weights[0] == sample.weights[tag] == 0
    assert set(sample.weights[1:tag]) == {0.3} and set(sample.weights[tag + 1 :]) == {1.0}


def test_batches_are_full_and_repeat_with_their_seed(
    corpus: Corpus, features: Path, vocabulary: SentencePieceVocabulary
) -> None:
    made = sampler(corpus, features, vocabulary)
    first, again = (list(batches(made, "7", 0.5, 400)) for _ in range(2))
    assert [[s.ids for s in b] for b in first] == [[s.ids for s in b] for b in again]
    assert all(len(b) * max(len(s.ids) for s in b) <= 400 for b in first)


def test_padding_does_not_change_the_logits(folder: Path) -> None:
    model = load_weights(folder, read_config(folder))
    short = Sample([5, 30, 31, 6, 40, 2], [0, 0, 0, 0, 1, 1])
    long = Sample([5, *range(50, 80), 6, 41, 2], [0.0] * 32 + [1, 1])
    with torch.no_grad():
        alone, _ = forward(model, collate([short], None, 128))
        beside, _ = forward(model, collate([short, long], None, 128))
    torch.testing.assert_close(alone, beside[:2], atol=1e-5, rtol=0)


def test_ctc_scores_only_samples_with_a_source(folder: Path) -> None:
    model = load_weights(folder, read_config(folder))
    vectors = np.random.default_rng(0).integers(0, 60_000, (40, 128)).astype(np.uint16) & np.uint16(0x3FFF)
    with_source = Sample([4, *[-1] * 20, 6, 40], [0.0] * 22 + [1], (0, 20), [30, 31, 31])
    without = Sample([4, *[-1] * 20, 6, 40], [0.0] * 22 + [1], (20, 40), None)
    losses = []
    for samples in ([with_source], [with_source, without], [without]):
        batch = collate(samples, vectors, 128)
        losses.append(ctc_loss(model, model.projector(batch.stacked.float()), batch, 7, random.Random(0), 20).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0] > 1
    assert losses[2] == 0


def test_learning_rate_warms_up_stays_and_falls() -> None:
    config = DecoderTrainingConfig(steps=1000, warmup_steps=100, decay_share=0.4)
    got = [round(learning_rate_scale(step, config), 4) for step in (0, 49, 99, 599, 800, 999)]
    assert got == [0.01, 0.5, 1.0, 1.0, 0.515, 0.0324]


@pytest.mark.slow
def test_training_resumes_exactly(
    folder: Path,
    corpus: Corpus,
    features: Path,
    vocabulary: SentencePieceVocabulary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marks = Marks.of(vocabulary.processor)
    config = DecoderTrainingConfig(steps=20, positions=200, warmup_steps=2, checkpoint_steps=2, ctc_random_tokens=20)

    def run(name: str) -> torch.Tensor:
        model = load_weights(folder, read_config(folder)).requires_grad_(True)

        def made() -> Sampler:
            return Sampler(corpus, features, marks, SampleConfig())

        train_decoder(model, made, features, marks, tmp_path / name, config)
        return model.embeddings.detach().clone()

    save = DecoderTraining.save

    def save_and_stop(training: DecoderTraining) -> None:
        save(training)
        if training.progress.step == 6:
            raise KeyboardInterrupt

    whole = run("whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DecoderTraining, "save", save_and_stop)
        run("resumed")
    torch.testing.assert_close(run("resumed"), whole, atol=1e-6, rtol=0)


def test_the_picture_puts_stages_behind_one_another(tmp_path: Path) -> None:
    def log(stage: str, *records: dict[str, float]) -> None:
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))

    with pytest.raises(DataError, match=r"holds no log with development figures"):
        read_series(tmp_path)
    log(
        "text",
        {"step": 50, "hours": 0.5, "loss": 3.0},
        {"step": 100, "hours": 1.0, "dev_text": 2.5, "bleu_text": 20.0},
        {"step": 150, "hours": 1.4, "loss": 2.8},  # stopped here, and gone on with from step 100
        {"step": 150, "hours": 1.5, "dev_text": 2.4},
    )
    log("incremental", {"step": 100, "hours": 0.25, "dev_text": 2.2})
    series, begins = read_series(tmp_path)
    assert series == {"dev_text": [(1.0, 2.5), (1.5, 2.4), (1.75, 2.2)], "bleu_text": [(1.0, 20.0)]}
    assert begins == [("text", 0.0), ("incremental", 1.5)]
    draw(tmp_path, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_audio_changes_keep_shape_and_range() -> None:
    rng = random.Random(3)
    clip = (0.4 * np.sin(np.arange(16_000) * 0.05)).astype(np.float32)
    silence = np.zeros(4_000, np.float32)
    assert len(trim_silence(np.concatenate([silence, clip, silence]))) == pytest.approx(len(clip) + 1_920, abs=40)
    both = joined([clip, clip], rng, (0.5, 0.5))
    assert len(both) == 2 * len(clip) + 8_000
    for _ in range(8):
        changed = augment(both, rng)
        assert changed.shape == both.shape and changed.dtype == np.float32
        assert np.abs(changed).max() <= 1 and np.isfinite(changed).all()


def test_recipe_errors_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('name = "x"\nwork = "w"\nstepz = 3\n')
    with pytest.raises(DataError, match=r"r\.toml: unknown key 'stepz'; known: name, work, data,"):
        read_recipe(path)
    path.write_text('name = "x"\nwork = "w"\n')
    with pytest.raises(DataError, match=r"r\.toml: data is missing; it must be a table\."):
        read_recipe(path)
    path.write_text("name = ")
    with pytest.raises(DataError, match=r"The recipe .* cannot be read: "):
        read_recipe(path)
    path.write_text('name = "x"\nwork = "w"\n[data]\ntrain = "t"\nmore = [{path = "u", wait = 2}]\n')
    with pytest.raises(DataError, match=r"r\.toml: unknown key 'data\.more\[0\]\.wait'; known: path,"):
        read_recipe(path)


def test_errors_of_text_files_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    for line, found in (
        ("one\n", r"pairs\.tsv:2 has 1 columns; two to four are expected"),
        ("one\ttwo\tmany\n", r"pairs\.tsv:2 has 'many' where a score is expected\."),
    ):
        path.write_text("good\tgut\n" + line)
        with pytest.raises(DataError, match=found):
            list(read_pairs(path))
    with pytest.raises(DataError, match=r"other\.tsv does not exist; name a tab-separated file"):
        list(read_pairs(tmp_path / "other.tsv"))


def test_what_is_held_back_is_never_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "books.tsv"
    path.write_text("".join(f"line {i}\tZeile {i}\t{i / 10}\t{'heidi' if i % 3 == 0 else 'nils'}\n" for i in range(10)))
    books = TextSource(path="", min_score=0.2, held_groups=("heidi",))
    trained = [pair.source for pair in training_pairs(path, books)]
    assert trained == [f"line {i}" for i in (2, 4, 5, 7, 8)]
    held = {pair.source for pair in held_pairs(path, books, 100)}
    assert held == {f"line {i}" for i in (3, 6, 9)}  # line 0 has too low a score for either
    tail = TextSource(path="", held_last=4)
    assert len(training_pairs(path, tail)) == 6
    assert {pair.source for pair in held_pairs(path, tail, 2)} < {f"line {i}" for i in range(6, 10)}


@pytest.mark.parametrize(
    "limit, taken",
    [({"max_words": 3}, [0, 2]), ({"max_ratio": 2.0}, [0, 1]), ({"without": "`|"}, [0, 1, 2])],
)
def test_limits_of_a_text_source(tmp_path: Path, limit: dict[str, object], taken: list[int]) -> None:
    path = tmp_path / "pairs.tsv"
    rows = [("a b c", "d e f"), ("four words are here", "vier davon"), ("short", "ziemlich viel laenger"), ("c|", "d`")]
    path.write_text("".join(f"{a}\t{b}\n" for a, b in rows))
    kept = [rows.index((pair.source, pair.target)) for pair in training_pairs(path, TextSource(path="", **limit))]  # type: ignore[arg-type]
    assert [k for k in kept if k < 3] == taken


def test_sentences_of_several_files_share_one_numbering(tmp_path: Path, vocabulary: SentencePieceVocabulary) -> None:
    one, two = tmp_path / "one.tsv", tmp_path / "two.tsv"
    one.write_text(f"{SENTENCES[0]}\t{SENTENCES[2]}\n{SENTENCES[1]}\t{SENTENCES[3]}\n")
    two.write_text(f"{SENTENCES[1]}\t{SENTENCES[2]}\n{SENTENCES[4]}\t{SENTENCES[5]}\n")
    sources = [(TextSource(path=""), one), (TextSource(path="", weight=3.0, ordered=True), two)]
    corpus = Corpus.of(sources, vocabulary.processor)
    assert [vocabulary.processor.decode(ids) for ids in corpus.source] == [SENTENCES[i] for i in (0, 1, 4)]
    assert [len(target) for target in corpus.target] == [1, 2, 1]
    assert [(part.first, part.end) for part in corpus.parts] == [(0, 2), (2, 3)]
    made = Sampler(corpus, None, Marks.of(vocabulary.processor), SampleConfig(text_runs=(1.0,)))
    rng = random.Random(0)
    drawn = [made.sample(rng, 0.0).ids for _ in range(600)]
    from_two = sum(ids[1 : 1 + len(corpus.source[2])] == corpus.source[2] for ids in drawn)
    assert 300 < from_two < 420  # three fifths: one sentence of weight 3 beside two of weight 1


def test_a_cascade_sample_says_the_transcript_first(
    corpus: Corpus, features: Path, vocabulary: SentencePieceVocabulary
) -> None:
    shares = {"text_share_start": 0, "text_share_end": 0, "transcript_share": 0, "cascade_share": 1}
    made = sampler(corpus, features, vocabulary, **shares, truncated_share=0, silent_share=0)
    marks, rng = made.marks, random.Random(4)
    for _ in range(50):
        sample = made.sample(rng, 0.0)
        begin = sample.ids.index(marks.source)
        assert sample.source == sample.ids[begin + 1 : sample.ids.index(marks.target)]
        assert set(sample.weights[begin + 1 :]) == {1.0}


@pytest.mark.parametrize("name", ["tiny-en-de", "tiny-en-de-text"])
def test_the_shipped_recipes_parse(name: str) -> None:
    recipe = read_recipe(Path(__file__).parents[2] / "examples" / f"{name}.toml")
    assert recipe.name == name and sum(recipe.data.voices.values()) == pytest.approx(1.0 if name == "tiny-en-de" else 0)
    assert not set(recipe.data.voices) & set(recipe.data.dev_voices)


def test_processes_share_tensors_of_either_kind_and_each_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulst.training.ranks import Ranks

    asked: list[object] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", asked.append)
    monkeypatch.setattr(torch.distributed, "new_group", lambda backend: backend)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    gpu = Computing.of("cuda", "bfloat16")
    Ranks(gpu.device)
    Ranks(Computing.of("cpu", "float32").device)
    assert asked == [torch.device("cuda:1"), "cpu:gloo,cuda:nccl", "gloo"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(UserWarning, match="CUDA is not available"):
        within = gpu.autocast()
    assert isinstance(within, torch.autocast) and (within.device, within.fast_dtype) == ("cuda", torch.bfloat16)


def test_the_recipe_for_another_pair_parses_and_turns_the_files_round(tmp_path: Path) -> None:
    text = (ROOT / "examples" / "other-pair.md").read_text(encoding="utf-8")
    (tmp_path / "tiny-de-en.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    recipe = read_recipe(tmp_path / "tiny-de-en.toml")
    assert (recipe.data.source, recipe.data.target) == ("de", "en")
    assert all(source.swapped for source, _ in recipe.texts)
    assert not set(recipe.data.voices) & set(recipe.data.dev_voices)
    assert set(recipe.data.voices) | set(recipe.data.dev_voices) <= set(VOICES)


def test_swapped_files_are_read_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("one\teins\t0.5\nuno\teins\t0.5\n")
    assert [(pair.source, pair.target) for pair in read_pairs(path, swapped=True)] == [("eins", "one"), ("eins", "uno")]
    corpus = Corpus.of([(TextSource(path="", swapped=True), path)], _Letters())
    assert (corpus.source, corpus.target) == ([[4]], [[[3], [3]]])


class _Letters:
    def encode(self, text: str) -> list[int]:
        return [len(text)]


def pair_recipe(folder: Path, start: Path, source: str, target: str) -> Recipe:
    values = {
        "name": "x",
        "work": str(folder),
        "data": {"source": source, "target": target, "train": "", "dev": "", "voices": {}, "dev_voices": {}},
        "model": {"encoder": "", "start": str(start)},
    }
    return read(Recipe, values, "x.toml", DataError)


def test_a_start_may_know_the_languages_the_other_way_round(folder: Path, tmp_path: Path) -> None:
    turned = new_model(pair_recipe(tmp_path, folder, "de", "en"))
    assert (turned.config.source, turned.config.target) == ("de", "en")
    with pytest.raises(DataError, match=r"does not know 'fr'; it knows en, de\."):
        new_model(pair_recipe(tmp_path, folder, "en", "fr"))


def test_marks_of_a_vocabulary_are_those_of_its_languages(tmp_path: Path) -> None:
    train_vocabulary(SENTENCES * 20, tmp_path / "v.model", 340, source="fr", target="nl")
    vocabulary = read_pieces(tmp_path / "v.model")
    marks = Marks.of(vocabulary, "fr", "nl")
    assert (marks.speech, marks.source, marks.target, marks.blank) == (4, 5, 6, 7)
    assert vocabulary.id_to_piece(marks.source) == "<fr>"


def test_a_vocabulary_that_is_too_small_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"A vocabulary of 60 pieces cannot be made; choose another vocabulary_size"):
        train_vocabulary(SENTENCES, tmp_path / "v.model", 60)
    assert not (tmp_path / "v.model").exists()
