"""simulstream logs: text that grows and shrinks, and when each unit last changed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulst.errors import DataError
from simulst.eval.logs.simulstream_log import UnitStack, WholeText, read_simulstream, write_simulstream
from simulst.eval.logs.units import Unit


def read(tmp_path: Path, chunks: list[dict[str, Any]], unit: Unit = "word", kind: str = "spm") -> Any:
    (tmp_path / "cfg.yaml").write_text(f"detokenizer_type: simuleval\nlatency_unit: {kind}\n")
    lines: list[dict[str, Any]] = [{"model_loading_time": 1.0}, {"id": 7, "metadata": {"wav_name": "x/a.wav"}}]
    for number, chunk in enumerate(chunks, 1):
        default = {"total_audio_processed": number, "computation_time": 0.5}
        lines.append({"id": 7, "generated_tokens": [], "deleted_tokens": []} | default | chunk)
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    instances, _ = read_simulstream(tmp_path / "log.jsonl", tmp_path / "cfg.yaml", unit)
    return instances[0]


def test_a_word_has_the_time_of_its_last_change(tmp_path: Path) -> None:
    found = read(tmp_path, [{"generated_tokens": ["▁Gu"]}, {"generated_tokens": ["ten", "▁Tag"]}])
    assert (found.prediction, found.delays_ms, found.elapsed_ms) == ("Guten Tag", (2000, 2000), (2500, 2500))


def test_what_is_taken_back_counts_as_erased(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        [
            {"generated_tokens": ["▁Gute", "▁Nacht"]},
            {"generated_tokens": ["▁Morgen"], "deleted_tokens": ["▁Nacht"]},
            {"generated_tokens": ["n"]},
        ],
    )
    assert (found.prediction, found.erased_units) == ("Gute Morgenn", 1)
    assert found.delays_ms == (1000, 3000)


def test_a_word_that_loses_its_end_is_late_again(tmp_path: Path) -> None:
    found = read(tmp_path, [{"generated_tokens": ["▁Mor", "gen"]}, {"deleted_tokens": ["gen"]}])
    assert (found.prediction, found.delays_ms) == ("Mor", (2000,))


def test_a_slow_chunk_holds_up_the_next(tmp_path: Path) -> None:
    found = read(tmp_path, [{"generated_tokens": ["▁a"], "computation_time": 1.8}, {"generated_tokens": ["▁b"]}])
    assert found.elapsed_ms == (2800, 2500)
    assert found.backlog_ms == (2800, 3300)


def test_characters_keep_inner_blanks(tmp_path: Path) -> None:
    found = read(tmp_path, [{"generated_tokens": ["▁A", "▁"]}, {"generated_tokens": ["b"]}], unit="char")
    assert (found.prediction, found.delays_ms) == ("A b", (1000, 2000, 2000))


TOKENS = st.lists(st.sampled_from(["▁", "▁a", "b", "cd", "▁e▁f", "▁▁", "g "]), max_size=8)


@given(TOKENS, st.lists(st.tuples(st.integers(0, 4), TOKENS), max_size=4), st.sampled_from(["word", "char"]))
def test_the_stack_holds_what_the_whole_text_does(
    first: list[str], changes: list[tuple[int, list[str]]], unit: Unit
) -> None:
    fast = UnitStack("spm", unit)
    whole = WholeText(lambda tokens: "".join(tokens).replace("▁", " ").strip(" "), unit)
    count = 0
    for deleted, added in [(0, first), *changes]:
        deleted = min(deleted, count)
        count += len(added) - deleted
        for text in (fast, whole):
            text.pop(deleted)
            for token in added:
                text.push(token)
        assert fast.units == whole.units


@pytest.mark.parametrize(
    ("chunk", "sentence"),
    [
        ({"deleted_tokens": ["x"]}, "log.jsonl, line 3: the deleted tokens are not the last ones that were generated."),
        ({"generated_tokens": "x"}, "log.jsonl, line 3: `generated_tokens` must be a list of tokens."),
        (
            {"computation_time": None},
            "log.jsonl, line 3: `computation_time` must be seconds, 0 or more, but is None.",
        ),
        ({"id": 8}, "log.jsonl, line 3: id 8 has no metadata line with `wav_name` before it."),
    ],
)
def test_a_broken_line_names_itself(tmp_path: Path, chunk: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, [chunk])
    assert str(error.value) == sentence


def test_an_unknown_detokeniser(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`latency_unit` must be word, char or spm, but is 'bpe'"):
        read(tmp_path, [{}], kind="bpe")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found = read(tmp_path, [{"generated_tokens": ["▁Guten"]}, {"generated_tokens": ["▁Tag"]}])
    write_simulstream(tmp_path / "b.jsonl", tmp_path / "b.yaml", [found], "word")
    (again,), _ = read_simulstream(tmp_path / "b.jsonl", tmp_path / "b.yaml", "word")
    assert (again.prediction, again.delays_ms, again.elapsed_ms) == (
        found.prediction,
        found.delays_ms,
        found.elapsed_ms,
    )


@pytest.mark.slow
@pytest.mark.parametrize("config", ["[" * 20_000, "{a: " * 20_000, "- " * 20_000, "'", "3"])
def test_a_configuration_that_means_nothing_is_refused(tmp_path: Path, config: str) -> None:
    read(tmp_path, [{"generated_tokens": ["▁Gu"]}])
    (tmp_path / "cfg.yaml").write_text(config)
    with pytest.raises(DataError, match="must be simulstream's evaluation yaml with `detokenizer_type`"):
        read_simulstream(tmp_path / "log.jsonl", tmp_path / "cfg.yaml", "word")
