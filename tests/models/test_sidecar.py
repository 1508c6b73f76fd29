"""Files that were made for weights: one warning where the weights beside them are others."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

import simulst
from simulst.cli import run
from simulst.models import DEFAULT_MODEL, load_model
from simulst.models.attention import HEADS_FILE, STREAMING_FILE
from simulst.models.fingerprint import fingerprint_of_weights
from simulst.models.speech_llm.monotonic import MONOTONIC_FILE, MonotonicHeads, save_heads
from simulst.models.speech_llm.transducer import TRANSDUCER_FILE, JointNetwork, save_joint
from simulst.testing.speech_llm import make_tiny_speech_llm

REMEDIES = {
    HEADS_FILE: "`simulst calibrate MODEL --data DATA`",
    STREAMING_FILE: "`simulst calibrate MODEL --data DATA --streaming`",
    MONOTONIC_FILE: "`simulst train RECIPE`, whose stage `monotonic` writes it",
    TRANSDUCER_FILE: "`simulst train RECIPE`, whose stage `transducer` writes it",
}


def put_heads(name: str) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        text = json.dumps({"heads": [[1, 0]], "weights": fingerprint_of_weights(folder)})
        (folder / name).write_text(text)

    return put


def put_networks(folder: Path) -> None:
    save_heads(MonotonicHeads((1, 2), widths=(32, 16), heads=2, size=4, hidden=8), folder / MONOTONIC_FILE)


def put_joint(folder: Path) -> None:
    save_joint(JointNetwork(32, 8), folder / TRANSDUCER_FILE)


PUT = {
    HEADS_FILE: put_heads(HEADS_FILE),
    STREAMING_FILE: put_heads(STREAMING_FILE),
    MONOTONIC_FILE: put_networks,
    TRANSDUCER_FILE: put_joint,
}


def warnings_of(folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load_model(folder)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("name", PUT)
def test_a_file_for_other_weights_is_one_warning(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own, other = make_tiny_speech_llm(tmp_path / "own"), make_tiny_speech_llm(tmp_path / "other", seed=1)
    PUT[name](own)
    assert warnings_of(own, caplog) == []
    shutil.copy(own / name, other / name)
    sentence = (
        f"{other / name} was made for other weights than those in its folder, and may fit them badly; "
        f"make it anew with {REMEDIES[name]}."
    )
    assert warnings_of(other, caplog) == [sentence]
    PUT[name](other)
    assert warnings_of(other, caplog) == []


def test_what_was_made_for_weights_is_no_part_of_them(tmp_path: Path) -> None:
    folder = make_tiny_speech_llm(tmp_path / "model")
    before = fingerprint_of_weights(folder)
    for put in PUT.values():
        put(folder)
    assert fingerprint_of_weights(folder) == before and len(before) == 16


def test_files_that_name_no_weights_load_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_tiny_speech_llm(tmp_path / "model")
    (folder / HEADS_FILE).write_text('{"heads": [[1, 0]]}')
    (folder / STREAMING_FILE).write_text("[[0, 0]]")
    assert warnings_of(folder, caplog) == []


def test_heads_that_are_named_are_taken_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_tiny_speech_llm(tmp_path / "model")
    (tmp_path / "mine.json").write_text('{"heads": [[1, 0]], "weights": "0000000000000000"}')
    with caplog.at_level(logging.WARNING):
        load_model(folder, heads_file=str(tmp_path / "mine.json"))
    assert caplog.records == []


def test_the_command_line_warns_once_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_tiny_speech_llm(tmp_path / "model")
    (folder / HEADS_FILE).write_text('{"heads": [[1, 0]], "weights": "0000000000000000"}')
    talk = Path(__file__).parents[1] / "data" / "two_sentences_en.ogg"
    assert run(["translate", str(talk), "--model", str(folder), "--policy", "wait_k"]) == 0
    assert [record.getMessage().count("was made for other weights") for record in caplog.records] == [1]


def test_the_model_that_comes_along_fits_itself() -> None:
    folder = Path(simulst.__file__).parent / "models" / DEFAULT_MODEL
    made_for = [json.loads((folder / name).read_text())["weights"] for name in (HEADS_FILE, STREAMING_FILE)]
    with safe_open(folder / MONOTONIC_FILE, framework="pt") as file:
        made_for.append(file.metadata()["weights"])
    assert made_for == [fingerprint_of_weights(folder)] * 3
