"""SimulEval's instances.log: writing, resuming after a crash, reading old and broken files."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulst.errors import DataError
from simulst.eval.logs.instances import Instance, append_instance, instance_from_json, read_instances, write_instances

RECORD: dict[str, Any] = {
    "index": 0,
    "prediction": "Guten Morgen",
    "delays": [1000.0, 2000.0],
    "elapsed": [1100.0, 2300.0],
    "prediction_length": 2,
    "reference": "Guten Tag",
    "source": ["a.wav", "samplerate: 16000 Hz"],
    "source_length": 2500.0,
}


def instance(index: int = 0, **changes: Any) -> Instance:
    values: dict[str, Any] = {
        "index": index,
        "source": "a.wav",
        "prediction": "Guten Morgen",
        "delays_ms": (1000.0, 2000.0),
        "elapsed_ms": (1100.0, 2300.0),
        "source_length_ms": 2500.0,
        "reference": "Guten Tag",
    }
    return Instance(**(values | changes))


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    log = tmp_path / "instances.log"
    written = [instance(0), instance(1, chunks=((1000.0, 10.0), (2500.0, 20.5)), erased_units=3)]
    for one in written:
        append_instance(log, one)
    assert read_instances(log) == written
    assert set(RECORD) <= set(json.loads(log.read_text().splitlines()[0]))


def test_a_torn_last_line_is_left_out_and_replaced(tmp_path: Path) -> None:
    log = tmp_path / "instances.log"
    append_instance(log, instance(0))
    with log.open("a") as file:
        file.write('{"index": 1, "prediction": "Gu')
    assert [one.index for one in read_instances(log)] == [0]
    append_instance(log, instance(1))
    assert [one.index for one in read_instances(log)] == [0, 1]


def test_a_whole_last_line_without_newline_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "instances.log"
    log.write_text(json.dumps(RECORD))
    append_instance(log, instance(1))
    assert [one.index for one in read_instances(log)] == [0, 1]


def test_a_torn_line_longer_than_a_block_is_removed(tmp_path: Path) -> None:
    log = tmp_path / "instances.log"
    append_instance(log, instance(0))
    with log.open("a") as file:
        file.write('{"prediction": "' + "x" * 200_000)
    append_instance(log, instance(1))
    assert [one.index for one in read_instances(log)] == [0, 1]


def test_old_logs_end_in_a_mark() -> None:
    old = RECORD | {"prediction": "Guten Morgen </s>", "delays": [1, 2, 3], "elapsed": [1, 2, 3], "metric": {"AL": 1}}
    found = instance_from_json(old)
    assert (found.prediction, found.delays_ms, found.elapsed_ms) == ("Guten Morgen", (1.0, 2.0), (1.0, 2.0))
    assert found.extra["metric"] == {"AL": 1}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"delays": [1, "x"]}, "log, line 1: `delays` must hold finite numbers of milliseconds, but holds 'x'."),
        (
            {"delays": [1, float("nan")]},
            "log, line 1: `delays` must hold finite numbers of milliseconds, but holds nan.",
        ),
        ({"delays": [1, True]}, "log, line 1: `delays` must hold finite numbers of milliseconds, but holds True."),
        ({"delays": 7}, "log, line 1: `delays` must be a list of milliseconds."),
        ({"elapsed": [1]}, "log, line 1: 2 delays but 1 elapsed times; the counts must match."),
        ({"source": 5}, "log, line 1: `source` and `prediction` must be text."),
        ({"index": "a"}, "log, line 1: `index` must be a whole number, 0 or more, but is 'a'."),
        (
            {"source_length": "long"},
            "log, line 1: `source_length` must be a finite number of milliseconds, but is 'long'.",
        ),
        ({"chunks": [[1]]}, "log, line 1: `chunks` must be a list of [audio_ms, compute_ms]."),
    ],
)
def test_a_wrong_value_names_its_line(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    log = tmp_path / "log"
    log.write_text(json.dumps(RECORD | change) + "\n")
    with pytest.raises(DataError) as error:
        read_instances(log)
    assert str(error.value) == sentence


def test_a_line_that_is_no_json_names_itself(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(json.dumps(RECORD) + "\nnonsense\n" + json.dumps(RECORD) + "\n")
    with pytest.raises(DataError, match=r"^log, line 2: not a JSON object; remove or repair the line\.$"):
        read_instances(log)


def test_units_that_do_not_fit_the_delays() -> None:
    wrong = instance(where="log, line 4", prediction="one two three")
    with pytest.raises(DataError, match=r"^log, line 4: 2 delays for 3 word units; was the log made with another"):
        wrong.units("word")


def test_character_logs_with_and_without_blanks() -> None:
    assert instance(prediction="ab", delays_ms=(1, 2)).units("char") == ["a", "b"]
    assert instance(prediction="a b", delays_ms=(1, 2)).units("char") == ["a", "b"]
    assert instance(prediction="a b", delays_ms=(1, 2, 3)).units("char") == ["a", " ", "b"]


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), max_size=6))
def test_any_text_survives_the_file(words: list[str]) -> None:
    one = instance(prediction=" ".join(words), delays_ms=tuple(map(float, range(len(words)))), elapsed_ms=())
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_instances(Path(folder) / "log", [one])
        (read,) = read_instances(Path(folder) / "log")
    if not one.prediction.split()[-1:] == ["</s>"]:
        assert read == one
