"""The demo with made-up speech: subtitles with times, then a table with scores of a perfect translation."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

import simulst.models
from simulst.cli import demo, run
from simulst.defaults import DEFAULT_MODEL, MODEL_FOR_PEOPLE
from simulst.testing import ToyTranslator, toy_audio, toy_text

pytestmark = pytest.mark.slow

SENTENCES = [[3, 14, 15, 9, 26, 30], [5, 35, 8, 9, 7, 10], [1, 2, 3, 4, 5, 20]]


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "talk.flac"
    soundfile.write(path, np.concatenate([toy_audio([*words, 0, 0]) for words in SENTENCES]), 16_000, subtype="PCM_24")
    path.with_suffix(".de.txt").write_text("".join(f"{toy_text(words)}\n" for words in SENTENCES))
    path.with_suffix(".yaml").write_text(
        "".join(f"- {{wav: talk.flac, offset: {i * 2.56}, duration: 1.92}}\n" for i in range(len(SENTENCES)))
    )
    monkeypatch.setattr(demo, "TALK", path)
    monkeypatch.setattr(simulst.models, "load_model", _loaded)
    monkeypatch.setenv("COLUMNS", "100")
    return path


def _loaded(name: str, *, device: str, dtype: str | None) -> ToyTranslator:
    print("loaded", name, dtype)
    return ToyTranslator()


@pytest.mark.parametrize(
    ("arguments", "model", "dtype"),
    [
        ([], MODEL_FOR_PEOPLE, "auto"),
        (["--dtype", "float32"], MODEL_FOR_PEOPLE, "float32"),
        (["--policy", "hold_n"], MODEL_FOR_PEOPLE, "auto"),
        (["--model", "tiny-en-de"], DEFAULT_MODEL, "None"),
    ],
)
def test_it_hears_with_the_recogniser_of_people_unless_another_model_is_named(
    talk: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], model: str, dtype: str
) -> None:
    assert run(["demo", *arguments]) == 0
    out = capsys.readouterr().out
    assert f"loaded {model} {dtype}\n" in out
    assert f"model {model}, " in out


def test_it_prints_subtitles_and_a_table(talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo"]) == 0
    out = capsys.readouterr().out
    rows = {
        line.split()[1]: line.split()[3::2] for line in out.splitlines() if line.startswith(("│ wait_k", "│ stream"))
    }
    assert set(rows) == {"wait_k", "stream_att"}
    for bleu, laal, laal_ca, rtf in rows.values():
        assert float(bleu) == 100.0
        assert 0 < float(laal) <= float(laal_ca) < 5
        assert 0 <= float(rtf) < 1
    assert float(rows["wait_k"][1]) > float(rows["stream_att"][1])
    assert re.findall(r"[wv]\d+\.?", out) == 2 * " ".join(map(toy_text, SENTENCES)).split()
    cues = [line for line in out.splitlines() if " s  " in line]
    starts = [float(cue.split(" - ")[0]) for cue in cues[: len(cues) // 2]]
    assert starts == sorted(starts)


def test_an_incomplete_talk_is_named(talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talk.with_suffix(".yaml").unlink()
    assert run(["demo"]) == 2
    missing = talk.with_suffix(".yaml")
    assert capsys.readouterr().err == (
        f"simulst: The bundled talk is incomplete: {missing} is missing; install simulst again.\n"
    )
