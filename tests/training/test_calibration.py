"""Choosing alignment heads: planted maps must be found, maps that say nothing refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import soundfile

from simulst.cli import run
from simulst.core.source import FloatArray
from simulst.core.translator import PLAIN, Alignment, Evidence, Hypothesis, Query, Translator
from simulst.errors import DataError, ModelError, SimulstError
from simulst.models import load_model
from simulst.models.attention import Head
from simulst.models.vocabulary import PieceVocabulary
from simulst.testing import ToyTranslator
from simulst.testing.checkpoints import tiny_whisper
from simulst.training.calibration import attended_within, calibrate, order_inside
from simulst.training.calibration_data import TimedExample, read_examples, word_indices

FRAME_S = 0.1
EVERY: list[Head] = [(layer, head) for layer in range(2) for head in range(3)]
Rows = Callable[[Head, int, int], FloatArray]


class PlantedModel:
    """A model of 2 layers and 3 heads that says one token per second of audio; `rows` are its heads' maps."""

    name = "planted"
    provides = frozenset({Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS})
    frame_s = FRAME_S
    max_source_s = 30.0
    directory = Path("nowhere")
    vocabulary = PieceVocabulary([b"</s>", b" a", b"b"], eos=0)

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.heads: list[Head] = [EVERY[0]]

    def use_heads(self, heads: Sequence[Head] | None) -> list[Head]:
        self.heads = sorted(EVERY if heads is None else heads)
        return self.heads

    def open(self) -> Any:
        return PlantedSession(self)


class PlantedSession:
    def __init__(self, model: PlantedModel) -> None:
        self.model = model
        self.seconds = 0.0

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        self.seconds += len(samples) / 16_000

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        if not prefix:
            return [Hypothesis(ids=(1,) * int(self.seconds), stop="eos")]
        frames = int(self.seconds / FRAME_S)
        heads = np.stack([self.model.rows(head, len(prefix), frames) for head in self.model.heads])
        alignment = Alignment(
            weights=heads.mean(axis=0),
            heads=heads,
            history=len(prefix),
            n_valid=heads.shape[-1],
            frame_s=FRAME_S,
            start_s=0,
        )
        return [Hypothesis(ids=(), stop="length", alignment=alignment)]


def planted(rows: Rows) -> Translator:
    return cast(Translator, PlantedModel(rows))


def diagonal(tokens: int, frames: int) -> FloatArray:
    """Token i attends to the i-th part of the audio."""
    rows = np.full((tokens, frames), 0.01, dtype=np.float32)
    for i in range(tokens):
        rows[i, int((i + 0.5) * frames / tokens)] = 0.5
    return rows


def some_follow(head: Head, tokens: int, frames: int) -> FloatArray:
    """(1, 2) follows the audio; (0, 1) for the first half of the tokens; the others stare at the end."""
    stare = np.zeros((tokens, frames), dtype=np.float32)
    stare[:, -1] = 1.0
    if head == (1, 2):
        return diagonal(tokens, frames)
    if head == (0, 1):
        return np.concatenate([diagonal(tokens, frames)[: tokens // 2], stare[tokens // 2 :]])
    return stare


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i in range(8):
        noise = np.random.default_rng(i).normal(0, 0.1, 32_000 + 1_600 * i)
        soundfile.write(folder / f"{i}.wav", noise, 16_000)
    return folder


def test_a_token_counts_when_its_frame_touches_its_span() -> None:
    rows = np.eye(6, dtype=np.float32)[[0, 2, 4, 5]]  # frames of 1 s
    spans = ((0.0, 1.0), (1.0, 1.8), None, (5.95, 9.0))
    example = TimedExample(name="x", samples=np.zeros(0, dtype=np.float32), ids=(1, 1, 1, 1), spans=spans)
    assert attended_within(rows, example, 1.0) == 2  # the second lies 0.2 s late, the third is not timed
    late = TimedExample(name="x", samples=example.samples, ids=(1,) * 4, spans=(*spans[:1], (1.0, 1.95), *spans[2:]))
    assert attended_within(np.stack([rows, rows[::-1]]), late, 1.0).tolist() == [3, 0]


def test_order_is_judged_inside_clips_only() -> None:
    spans = ((0.0, 2.0),) * 4 + ((2.0, 4.0),) * 2
    example = TimedExample(name="x", samples=np.zeros(0, dtype=np.float32), ids=(1,) * 6, spans=spans)
    eye = np.eye(8, dtype=np.float32)
    rows = np.stack([eye[[0, 1, 2, 3, 7, 6]], eye[[3, 2, 1, 0, 4, 5]], eye[[5] * 6], eye[[0, 2, 1, 3, 4, 5]]])
    order, clips = order_inside(rows, example)
    np.testing.assert_allclose(order, [1.0, -1.0, 0.0, 0.8], atol=1e-6)
    assert clips == 1


def test_planted_heads_are_found_and_used(clips: Path) -> None:
    model = planted(some_follow)
    found = calibrate(model, clips, join=4)
    assert found.heads == ((1, 2),)  # with the mean of (1, 2) and (0, 1) half the tokens would stare
    assert found.scores == (1.0,) and found.mean_score == 1.0
    assert (found.examples, found.tokens) == (2, 16)
    assert cast(PlantedModel, model).heads == [(1, 2)]


def test_heads_that_help_each_other_are_kept_together(clips: Path) -> None:
    def noisy(head: Head, tokens: int, frames: int) -> FloatArray:
        """Each head is lost on other tokens, with less weight than where it follows."""
        rows = diagonal(tokens, frames)
        index = EVERY.index(head)
        for i in range(index % 3, tokens, 3):
            rows[i] = 0.01
            rows[i, (i * 7 + index) % frames] = 0.3
        return rows

    found = calibrate(planted(noisy), clips, join=4)
    assert len(found.heads) >= 2 and found.mean_score == 1.0 > max(found.scores)


def test_no_head_that_follows_is_an_error(clips: Path) -> None:
    def nothing(_: Head, tokens: int, frames: int) -> FloatArray:
        return np.zeros((tokens, frames), dtype=np.float32)

    def broken(_: Head, tokens: int, frames: int) -> FloatArray:
        return np.full((tokens, frames), np.nan, dtype=np.float32)

    for rows in (nothing, broken):
        with pytest.raises(
            ModelError, match=r"^Model 'planted' gave an attention map of zeros or NaN for clips up to "
        ):
            calibrate(planted(rows), clips)
    with pytest.raises(ModelError, match=r"^Model 'planted' gave an empty attention map for clips up to .*cannot be"):
        calibrate(planted(lambda _, tokens, frames: np.zeros((tokens, 0), dtype=np.float32)), clips)
    with pytest.raises(ModelError, match=r"^Model 'toy' has no attention heads to choose from\.$"):
        calibrate(ToyTranslator(), clips)


def test_heads_below_the_threshold_are_refused(tmp_path: Path) -> None:
    """Every token belongs to 0.5 s in the middle of a clip, where no head looks."""
    soundfile.write(tmp_path / "x.wav", np.zeros(64_000), 16_000)
    line = {"audio": "x.wav", "target": "a b", "spans": [[2.0, 2.1], None]}
    (tmp_path / "m.jsonl").write_text(json.dumps(line))
    model = planted(lambda _, tokens, frames: diagonal(tokens, frames) * 0 + np.eye(1, frames, dtype=np.float32))
    model.vocabulary.encode = lambda text: [1] * len(text.split())  # type: ignore[attr-defined]
    try:
        with pytest.raises(
            ModelError, match=r"^No attention head of 'planted' follows the source: the best score is 0\.00"
        ):
            calibrate(model, tmp_path / "m.jsonl")
    finally:
        del model.vocabulary.encode  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("nonsense", 'm.jsonl:1 must be {"audio": file, "target": text, "spans": '),
        ('{"audio": "x.wav"}', "m.jsonl:1 must be "),
        ('{"audio": "x.wav", "target": "a", "spans": [[0, 1], [1, 2]]}', "m.jsonl:1 has 2 spans for the 1 words of"),
        ('{"audio": "x.wav", "target": "a", "spans": [7]}', "m.jsonl:1 must be "),
        ('{"audio": "absent.wav", "target": "a", "spans": [null]}', "absent.wav"),
    ],
)
def test_damaged_manifests_are_one_sentence(tmp_path: Path, whisper_dir: Path, content: str, sentence: str) -> None:
    (tmp_path / "m.jsonl").write_text(content)
    with pytest.raises(SimulstError) as caught:
        calibrate(load_model(whisper_dir, source="de"), tmp_path / "m.jsonl")
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_data_that_says_nothing_is_refused(tmp_path: Path, clips: Path, whisper_dir: Path) -> None:
    model = load_model(whisper_dir, source="de")
    with pytest.raises(DataError, match=r"none does not exist\.$"):
        calibrate(model, tmp_path / "none")
    with pytest.raises(DataError, match="must name at least two audio files"):
        calibrate(model, tmp_path)
    soundfile.write(tmp_path / "x.wav", np.zeros(16_000), 16_000)
    (tmp_path / "m.jsonl").write_text('{"audio": "x.wav", "target": "a", "spans": [null]}')
    with pytest.raises(DataError, match="gives no target token whose time is known"):
        calibrate(model, tmp_path / "m.jsonl")
    with pytest.raises(DataError, match="cannot be read as a list of files"):
        calibrate(model, tmp_path / "x.wav")


def test_manifest_times_go_to_every_token_of_a_word(tmp_path: Path, whisper_dir: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(32_000), 16_000)
    line = {"audio": "x.wav", "target": "ab c. d", "spans": [[0.0, 0.5], None, [1.0, 2.0]]}
    (tmp_path / "m.jsonl").write_text(json.dumps(line))
    model = load_model(whisper_dir, source="de")
    (example,) = read_examples(tmp_path / "m.jsonl", model, join=2, limit=9)
    assert model.vocabulary.decode(example.ids) == " ab c. d"
    words = word_indices(example.ids, model.vocabulary)
    times = [(0.0, 0.5), None, (1.0, 2.0)]
    assert example.spans == tuple(times[word] for word in words) and set(words) == {0, 1, 2}
    assert len(example.samples) == 32_000


def test_joined_clips_know_where_each_token_belongs(clips: Path) -> None:
    first, second = read_examples(clips, planted(some_follow), join=3, limit=2)
    assert first.ids == (1,) * 6 and first.spans == ((0.0, 2.5),) * 2 + ((2.5, 5.1),) * 2 + ((5.1, 7.8),) * 2
    assert len(first.samples) == 7.8 * 16_000 and len(second.ids) == 6
    (clips / "source.txt").write_text("1.wav\n0.wav\n")
    try:
        (listed,) = read_examples(clips, planted(some_follow), join=3, limit=2)
    finally:
        (clips / "source.txt").unlink()
    assert listed.spans[0] == (0.0, 2.6)


def test_command_stores_heads_that_the_model_then_uses(
    tmp_path: Path, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tiny_whisper(tmp_path / "tiny", brevity=5.0)
    code = run(
        ["calibrate", str(directory), "--data", str(clips), "--set", "source=de", "--set", "no_speech=1", "--json"]
    )
    assert code == 0
    told = json.loads(capsys.readouterr().out)
    stored = json.loads((directory / "alignment_heads.json").read_text())
    assert told == {**stored, "file": str(directory / "alignment_heads.json")}
    assert stored["examples"] == 2 and 0.1 <= stored["mean_score"] <= 1
    model = cast(Any, load_model(directory, source="de"))
    assert sorted(model.attention.heads) == sorted(map(tuple, stored["heads"]))
    assert run(["calibrate", str(directory), "--data", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"simulst: The calibration data {tmp_path}/none does not exist.\n"


@pytest.fixture(scope="module")
def whisper_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("models") / "tiny-whisper", brevity=5.0)


def test_words_are_counted_from_word_starts() -> None:
    vocabulary = SimpleNamespace(starts_word=lambda token: token == 1)
    assert word_indices([2, 1, 2, 2, 1], cast(Any, vocabulary)) == [0, 1, 1, 1, 2]
