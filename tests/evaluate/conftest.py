"""Small test sets of made-up audio that the toy model understands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import simulst.cli
import simulst.models
from simulst.core.translator import Translator
from simulst.testing import ToyTranslator, toy_audio, toy_text

Words = list[int]


def sentences(count: int, *, seed: int = 0, longest: int = 12) -> list[Words]:
    rng = np.random.default_rng(seed)
    return [[int(word) for word in rng.integers(1, 61, int(rng.integers(3, longest)))] for _ in range(count)]


def write_lists(folder: Path, count: int = 4, **options: int) -> Path:
    """source.txt, target.txt and the wavs."""
    folder.mkdir(parents=True, exist_ok=True)
    said = sentences(count, **options)
    for number, words in enumerate(said):
        soundfile.write(folder / f"{number}.wav", toy_audio(words), 16_000, subtype="FLOAT")
    (folder / "source.txt").write_text("".join(f"{number}.wav\n" for number in range(count)))
    (folder / "target.txt").write_text("".join(f"{toy_text(words)}\n" for words in said))
    return folder


def write_mustc(root: Path, talks: int = 2, segments: int = 3) -> Path:
    """root/en-de/data/tst: every talk begins with two silent slots and pauses for three after each segment."""
    split = root / "en-de" / "data" / "tst"
    (split / "wav").mkdir(parents=True)
    (split / "txt").mkdir()
    said = sentences(talks * segments, seed=1)
    lines = []
    for talk in range(talks):
        pieces, at = [toy_audio([0, 0])], 0.64
        for words in said[talk * segments : (talk + 1) * segments]:
            pieces += [toy_audio(words), toy_audio([0, 0, 0])]
            seconds = len(pieces[-2]) / 16_000
            lines.append(
                f"- {{duration: {seconds:.6f}, offset: {at:.6f}, speaker_id: spk.{talk}, wav: ted_{talk}.wav}}\n"
            )
            at += seconds + 0.96
        soundfile.write(split / "wav" / f"ted_{talk}.wav", np.concatenate(pieces), 16_000, subtype="FLOAT")
    (split / "txt" / "tst.yaml").write_text("".join(lines))
    (split / "txt" / "tst.en").write_text("".join(f"{' '.join(map(str, words))}\n" for words in said))
    (split / "txt" / "tst.de").write_text("".join(f"{toy_text(words)}\n" for words in said))
    return split


@pytest.fixture
def make_lists(tmp_path: Path) -> Callable[..., Path]:
    """make_lists(count, seed=, longest=): a folder with lists."""
    return lambda count, **options: write_lists(tmp_path / f"lists{count}", count, **options)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    return write_lists(tmp_path / "lists")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--model toy` in this process."""
    real_load, real_options = simulst.models.load_model, simulst.models.option_names

    def load(name: str, **options: Any) -> Translator:
        return ToyTranslator() if name == "toy" else real_load(name, **options)

    monkeypatch.setattr(simulst.models, "load_model", load)
    monkeypatch.setattr(
        simulst.models, "option_names", lambda name: frozenset() if name == "toy" else real_options(name)
    )


@pytest.fixture
def run(toy: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls the command line; exit status, stdout, stderr."""

    def call(*args: object) -> tuple[int, str, str]:
        status = simulst.cli.run([str(arg) for arg in args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def mustc(tmp_path: Path) -> Path:
    return write_mustc(tmp_path)


@pytest.fixture
def edit() -> Callable[[Path, int, str], None]:
    """edit(file, line, text) replaces a line, counted from 1; None removes it."""

    def change(path: Path, line: int, text: str | None) -> None:
        lines = path.read_text().splitlines()
        lines[line - 1 : line] = [] if text is None else [text]
        path.write_text("".join(f"{one}\n" for one in lines))

    return change
