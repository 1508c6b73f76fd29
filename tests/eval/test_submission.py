"""`simulst submit`: runs by regime of latency, whole or not at all, and what is refused."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest

from simulst.chosen import load_policy_with, read_settings
from simulst.cli import run
from simulst.core.settings import describe
from simulst.errors import SimulstError
from simulst.eval.data.segmentation import Segment
from simulst.eval.logs.formats import read_log
from simulst.eval.logs.instances import Instance, write_instances
from simulst.eval.report.submission import _entries, arguments, pack
from simulst.eval.score.inputs import report_instances
from simulst.policies import load_policy

Make = Callable[..., Path]
WORDS = "eins zwei drei vier fünf sechs".split()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(name, lag_ms, **info): a finished run of one recording whose words come a second apart, and so much late."""

    def finished(name: str, lag_ms: float, *, words: list[str] = WORDS, **info: object) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        times = tuple(1000.0 * i + lag_ms for i in range(len(words)))
        text = " ".join(words)
        end_ms = 1000.0 * len(words)
        spoken = Instance(
            index=0, source="talk.wav", prediction=text, delays_ms=times, elapsed_ms=times, source_length_ms=end_ms
        )
        segments = [Segment(index=0, wav="talk.wav", offset_s=0.0, duration_s=end_ms / 1000, reference=text)]
        write_instances(folder / "instances.log", [spoken])
        report_instances([spoken], segmentation=segments).write(folder)
        policy = load_policy("wait_k")
        described = {
            "model": {"name": "tiny-en-de", "options": {}, "dtype": "float32"},
            "policy": {
                "name": "wait_k",
                "parameters": {str(one["name"]): one["value"] for one in describe(type(policy.policy), policy.policy)},
                "history": asdict(policy.history),
            },
            "chunk_ms": 640,
            "unit": "word",
            "data": {"name": "talks", "source_lang": "en", "target_lang": "de", "fingerprint": "ab"},
            "machine": {"host": "secret"},
            **info,
        }
        (folder / "run.json").write_text(json.dumps(described), encoding="utf-8")
        return folder

    return finished


def test_every_run_lies_in_its_regime(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make("quick", 900), make("slow", 2900), make("quicker", 500)]
    output = tmp_path / "submission"
    assert run(["submit", *map(str, runs), "--output", str(output), "--system", "Ours | 1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split("submission/")[1] for line in said] == [
        "low/quick  LongYAAL 0.90 s  primary",
        "high/slow  LongYAAL 2.90 s  primary",
        "low/quicker  LongYAAL 0.50 s  contrastive",
        "README.md",
    ]
    found = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    names = {"instances.log", "run.json", "scores.json", "scores.tsv", "segments.tsv", "simulstream.jsonl"}
    names.add("simulstream_cfg.yaml")
    places = ("low/quick", "low/quicker", "high/slow")
    assert found == {"README.md", "Containerfile", *(f"{place}/{name}" for place in places for name in names)}
    readme = (output / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# Ours | 1\n")
    assert "| low | quick | primary | tiny-en-de | wait_k | 100.00 | 100.00 | 0.90 |" in readme
    assert "secret" not in readme + (output / "low/quick/run.json").read_text()


def test_the_logs_say_what_the_run_said(make: Make, tmp_path: Path) -> None:
    pack([make("one", 900)], tmp_path / "out", system="x")
    folder = tmp_path / "out" / "low" / "one"
    streams, _ = read_log(folder / "simulstream.jsonl", unit="word", config=folder / "simulstream_cfg.yaml")
    lines, _ = read_log(folder / "instances.log", unit="word")
    for (one,) in (streams, lines):
        assert one.prediction == " ".join(WORDS)
        assert one.delays_ms == (900, 1900, 2900, 3900, 4900, 5900)


def test_the_container_runs_what_the_run_was(make: Make) -> None:
    """The arguments, read as the command reads them, give the settings of run.json."""
    parameters = {**{str(one["name"]): one["value"] for one in describe(type(load_policy("wait_k").policy))}, "k": 7}
    folder = make("seven", 900, policy={"name": "wait_k", "parameters": parameters, "history": {"words": 30}})
    found = arguments(_entries([folder])[0])
    assert found[:5] == ["serve-simulstream", "--host", "0.0.0.0", "--port", "8766"]
    pairs = [value for key, value in pairwise(found) if key == "--set"]
    policy = load_policy_with("wait_k", read_settings(pairs, policy="wait_k", model="tiny-en-de"))
    assert (vars(policy.policy)["k"], policy.history.words) == (7, 30)
    assert "--dtype" not in found and found[-4:] == ["--set", "policy.k=7", "--set", "history.words=30"]


def test_what_cannot_be_submitted_is_one_sentence(make: Make, tmp_path: Path) -> None:
    good, late = make("good", 900), make("late", 4800)
    other = make("other", 900, words=["anders"] * 6)
    failed, own = make("failed", 900, failed=2), make("own", 900, policy={"name": "wait_k", "code": "ab"})
    terms = make("terms", 900, glossary={"terms": "ab", "boost": 9})
    (tmp_path / "there").mkdir()
    for folders, output, sentence in [
        (
            [late],
            "out",
            "late has a LongYAAL of 4.80 s, above the 4 s of the slowest regime; choose ",
        ),
        ([good, other], "out", "The runs are of different test sets; submit those of one set together."),
        ([good, good], "out", "Two of the runs have folders of the same name; rename one."),
        ([failed], "out", "failed lacks recordings that failed; run the same `simulst evaluate` again."),
        ([own], "out", "own was made with a policy from a file of yours, which the container would lack."),
        ([terms], "out", "terms was made with a glossary from a file of yours, which the container would lack."),
        ([tmp_path], "out", "has no scores.tsv; give a folder made by `simulst evaluate` or `simulst score --output`."),
        ([good], "there", "there exists already; remove it, or choose another --output."),
    ]:
        with pytest.raises(SimulstError) as error:
            pack(folders, tmp_path / output, system="x")
        assert sentence in str(error.value)
        assert not (tmp_path / "out").exists()


def test_what_a_kill_left_is_replaced(make: Make, tmp_path: Path) -> None:
    (tmp_path / ".out.unfinished" / "low").mkdir(parents=True)
    pack([make("one", 900)], tmp_path / "out", system="x")
    assert sorted(os.listdir(tmp_path)) == ["out", "runs"]
