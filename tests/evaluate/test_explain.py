"""Traces of decisions, and the page about one recording."""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from simulst.core.session import Session
from simulst.core.translator import Alignment
from simulst.errors import DataError
from simulst.eval.report.explain import peaks, read_trace, write_explanation
from simulst.policies import load_policy
from simulst.sinks import trace as trace_module
from simulst.sinks.trace import Trace, pooled
from simulst.testing import ToyTranslator, toy_audio, toy_text

Run = Callable[..., tuple[int, str, str]]
WORDS = [3, 14, 15, 9, 2, 6]


def traced(policy: str, words: list[int] = WORDS, **parameters: object) -> list[dict[str, Any]]:
    session = Session(ToyTranslator(), load_policy(policy, **parameters))
    out = io.StringIO()
    session.observer = Trace(out, session, name="x")
    session.feed(toy_audio(words))
    session.finish()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def page_data(path: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize("policy", ["wait_k", "align_att", "local_agreement", "offline", "retranslation"])
def test_what_a_trace_says_was_written_is_the_output(policy: str) -> None:
    head, *decisions = traced(policy)
    assert (head["type"], head["model"], head["policy"], head["name"]) == ("stream", "toy", policy, "x")
    text = ""
    for one in decisions:
        text = text[: len(text) - one["retracted"]] + one["written"]
    assert text == toy_text(WORDS)
    times = [one["at_s"] for one in decisions]
    assert times == sorted(times) and [one["final"] for one in decisions] == [False] * (len(times) - 1) + [True]


def test_a_decision_says_why_and_where_its_words_attended() -> None:
    decisions = traced("align_att")[1:]
    assert decisions[0]["reason"] == "read" or decisions[0]["written"]
    wrote = next(one for one in decisions if one["reason"] == "attention")
    assert set(wrote["values"]) == {"limit", "frames"}
    assert "".join(piece for piece, _ in wrote["tokens"]).strip() == wrote["written"].strip()
    assert len(wrote["rows"]) == len(wrote["tokens"])
    for row, (_, time) in zip(wrote["rows"], wrote["tokens"], strict=True):
        weights = np.frombuffer(base64.b64decode(row), dtype=np.uint8)
        assert weights.max() == 255
        assert wrote["row_s"] + int(weights.argmax()) * wrote["column_s"] == pytest.approx(time, abs=wrote["column_s"])


def test_rows_are_pooled_to_a_tenth_of_a_second() -> None:
    weights = np.zeros((3, 12), dtype=np.float32)
    weights[1, 7], weights[1, 0], weights[2, 11] = 0.8, 0.4, 0.1
    found = pooled(Alignment(weights=weights, history=1, n_valid=11, frame_s=0.02, start_s=4.0), 2)
    assert (found["row_s"], found["column_s"]) == (4.0, 0.1)
    rows = [list(base64.b64decode(row)) for row in found["rows"]]  # type: ignore[attr-defined]
    assert rows == [[128, 255, 0], [0, 0, 0]]  # frame 11 is padding


def test_a_trace_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_module, "MAX_ROW_BYTES", 900)
    monkeypatch.setattr(trace_module, "MAX_BYTES", 2_000)
    lines = traced("align_att", WORDS * 8)
    assert lines[-1] == {"type": "cut", "at_s": lines[-1]["at_s"]} and lines[-1]["at_s"] > 0
    assert len("\n".join(map(json.dumps, lines))) < 4_000
    rows = ["rows" in line for line in lines if line.get("tokens")]
    assert True in rows and rows[-1] is False


def test_nothing_is_noted_without_an_observer() -> None:
    session = Session(ToyTranslator(), load_policy("align_att"))
    session.feed(toy_audio(WORDS))
    session.finish()
    assert session.observer is None and session.text == toy_text(WORDS)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2])
def test_a_run_keeps_traces_and_explains_an_item(run: Run, lists: Path, tmp_path: Path, batch: int) -> None:
    out = tmp_path / "out"
    command = ("evaluate", lists, "--model", "toy", "--policy", "align_att", "--output", out)
    assert run(*command, "--trace", "--batch", batch)[0] == 0
    assert sorted(path.name for path in (out / "traces").iterdir()) == [f"{n}.jsonl" for n in range(4)]
    status, shown, said = run("explain", out, 2)
    assert (status, shown.strip()) == (0, str(out / "traces" / "1.html")), said
    data = page_data(out / "traces" / "1.html")
    assert data["title"] == "1.wav" and data["notes"] == []
    seconds = soundfile.info(lists / "1.wav").duration
    assert data["end_s"] == pytest.approx(seconds)
    assert len(base64.b64decode(data["peaks"])) == int(np.ceil(seconds / data["peak_s"] - 1e-6))
    reference = (lists / "target.txt").read_text().splitlines()[1]
    assert [one["prediction"] for one in data["segments"]] == [reference] and data["segments"][0]["words"] == 0


def test_translate_writes_a_trace_that_can_be_explained(run: Run, lists: Path, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    sound = lists / "0.wav"
    status, shown, _ = run("translate", sound, "--model", "toy", "--trace", trace)
    assert status == 0
    assert "".join(str(one["written"]) for one in read_trace(trace).decisions).strip() == shown.strip()
    sound.rename(tmp_path / "moved.wav")
    assert run("explain", trace)[0] == 0
    assert page_data(trace.with_suffix(".html"))["notes"][0].startswith("The recording was not found ")
    assert run("explain", trace, "--audio", tmp_path / "moved.wav")[0] == 0
    assert page_data(trace.with_suffix(".html"))["notes"] == []


def test_a_trace_without_attention_says_so(run: Run, lists: Path, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    lines = [{key: value for key, value in line.items() if key != "rows"} for line in traced("wait_k")]
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_explanation(read_trace(trace), tmp_path / "t.html", audio=lists / "0.wav")
    assert page_data(tmp_path / "t.html")["notes"] == [
        "The model gave no attention over the audio under this policy, so there is no heat map."
    ]


def test_news_are_what_the_transcript_did_not_say_before(tmp_path: Path) -> None:
    heard = ["good", "good mor", "good morning to", "morning to you", "morning to you"]
    lines: list[dict[str, object]] = [{"type": "stream", "name": "x"}]
    lines += [{"type": "decision", "at_s": n, "source": text} for n, text in enumerate(heard)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_explanation(read_trace(tmp_path / "t.jsonl"), tmp_path / "t.html")
    news = [one["news"] for one in page_data(tmp_path / "t.html")["decisions"]]
    assert news == ["good", "mor", "morning to", "you", ""]


@pytest.mark.slow
@pytest.mark.parametrize("long", [False, True])
def test_the_report_leads_to_the_explanations(run: Run, lists: Path, mustc: Path, tmp_path: Path, long: bool) -> None:
    out, data = tmp_path / "out", mustc if long else lists
    command = ("evaluate", data, "--model", "toy", "--policy", "align_att", "--output", out, "--trace")
    assert run(*command, *(["--long"] if long else []))[0] == 0
    assert run("report", out)[0] == 0
    segments = page_data(out / "report.html")["segments"]
    assert len(segments) == (6 if long else 4)
    for segment in segments:
        page, _, at = segment["explained"].partition("#")
        assert page_data(out / page)["title"] == segment["wav"]
        assert float(at) == pytest.approx(segment["offset"] or 0.0, abs=0.05)
    assert len({segment["explained"].partition("#")[0] for segment in segments}) == (2 if long else 4)


def test_peaks_are_the_loudest_of_each_stretch() -> None:
    samples = np.zeros(960, dtype=np.float32)
    samples[[10, 400]] = -0.5, 0.25
    assert peaks(samples).tolist() == [255, 128, 0]
    assert peaks(np.zeros(0, dtype=np.float32)).tolist() == []


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    lines = traced("wait_k")
    lines[0]["name"] = lines[2]["written"] = "</script><img src=x onerror=alert(1)>"
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_explanation(read_trace(tmp_path / "t.jsonl"), tmp_path / "t.html")
    assert "<img" not in (tmp_path / "t.html").read_text()
    assert page_data(tmp_path / "t.html")["decisions"][1]["written"] == lines[2]["written"]


@pytest.mark.slow
def test_what_cannot_be_explained_is_said(run: Run, lists: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other.jsonl"
    command = ("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output", out)
    assert run(*command)[0] == 0
    other.write_text('{"audio": "x.wav"}\n')
    for arguments, sentence in [
        ((out, 1), f"{out} has no traces; run `simulst evaluate` with --trace"),
        ((out,), f"{out} is a run: say which of its items, counted from 1."),
        ((other,), f"{other} is not a trace; "),
        ((other, 1), f"{other} is not a folder: "),
    ]:
        status, _, said = run("explain", *arguments)
        assert status == 2 and said.startswith(f"simulst: {sentence}"), said
    assert run(*command, "--trace", "--fresh")[0] == 0
    status, _, said = run("explain", out, 9)
    assert (status, said) == (2, f"simulst: {out} has no trace of item 9; it has 1 to 4.\n")
    trace = out / "traces" / "0.jsonl"
    status, _, said = run("explain", trace, "--output", trace)
    assert status == 2 and trace.read_text().startswith('{"type":"stream"')


@pytest.mark.slow
def test_a_run_that_starts_over_leaves_no_traces_of_the_one_before(run: Run, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("evaluate", lists, "--model", "toy", "--policy", "align_att", "--output", out)
    assert run(*command, "--trace")[0] == 0 and run("report", out)[0] == 0
    assert (out / "explained").is_dir()
    status, _, said = run(*command, "--fresh")
    assert status == 0, said
    assert not (out / "traces").exists() and not (out / "explained").exists()
    assert run(*command, "--fresh", "--trace")[0] == 0
    before = {path.name: path.read_bytes() for path in (out / "traces").iterdir()}
    (lists / "0.wav").write_bytes(b"")
    assert run(*command, "--fresh", "--trace")[0] == 2  # before the first item
    assert {path.name: path.read_bytes() for path in (out / "traces").iterdir()} == before


def test_output_and_trace_must_differ(run: Run, lists: Path, tmp_path: Path) -> None:
    same = tmp_path / "x.jsonl"
    status, _, said = run("translate", lists / "0.wav", "--model", "toy", "--output", same, "--trace", same)
    assert (status, said) == (2, "simulst: --output and --trace name the same file; give each its own.\n")
    with pytest.raises(DataError, match="holds no decision"):
        same.write_text('{"type": "stream"}\n')
        read_trace(same)
