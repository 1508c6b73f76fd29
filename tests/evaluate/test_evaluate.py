"""`simulst evaluate` with a toy model: results, resumption, failures, refusals."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from simulst.eval.data import Item, open_dataset
from simulst.eval.logs.instances import Instance
from simulst.eval.run import RunSpec, run_evaluation
from simulst.eval.run.gang import Gang
from simulst.eval.run.pool import Outcome, Work, run_here, run_workers
from simulst.eval.run.stream import pieces, translate_item
from simulst.policies import POLICIES, load_policy
from simulst.testing import ToyTranslator

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]
TOY = Path(__file__).parents[1] / "cli" / "toy_simulst.py"


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "instances.log").read_text().splitlines()]


def said(folder: Path) -> list[tuple[int, str, list[float]]]:
    return [(line["index"], line["prediction"], line["delays"]) for line in log(folder)]


def test_what_a_run_leaves_behind(run: Run, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, shown, errors = run("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output", out)
    assert status == 0 and "LAAL" in shown
    assert "4 of 4" in errors
    scores = json.loads((out / "scores.json").read_text())
    assert scores["BLEU"] == pytest.approx(100)
    assert {"LAAL", "LAAL_CA", "LAAL_CA_backlog", "AL", "AP", "DAL", "ATD", "chrF2", "NE"} <= set(scores)
    assert all(isinstance(value, float) for value in scores.values())
    assert (out / "errors.jsonl").read_text() == ""
    assert (out / "segments.tsv").read_text().count("\n") == 5
    assert (out / "scores.tsv").read_text().startswith("metric\tvalue\tsignature\n")
    info = json.loads((out / "run.json").read_text())
    assert info["policy"]["parameters"]["k"] == 5 and info["chunk_ms"] == 640
    assert (info["model"]["name"], info["seed"], info["instances"], info["failed"]) == ("toy", 0, 4, 0)
    assert info["versions"]["simulst"] and info["machine"]["cores"] and info["command"][0] == "simulst"


def test_the_log_says_what_the_session_did(run: Run, lists: Path, tmp_path: Path) -> None:
    run("evaluate", lists, "--model", "toy", "--policy", "stream_att", "--output", tmp_path / "out")
    references = (lists / "target.txt").read_text().splitlines()
    for line, reference in zip(log(tmp_path / "out"), references, strict=True):
        samples, rate = soundfile.read(lists / f"{line['index']}.wav")
        assert line["prediction"] == line["reference"] == reference
        assert line["prediction_length"] == len(line["delays"]) == len(reference.split())
        assert line["source_length"] == len(samples) * 1000 / rate == line["delays"][-1]
        assert all(delay % 640 == 0 for delay in line["delays"] if delay < line["source_length"])
        assert all(late >= delay for late, delay in zip(line["elapsed"], line["delays"], strict=True))
        assert [audio for audio, _ in line["chunks"][:-1]] == [640.0 * (i + 1) for i in range(len(line["chunks"]) - 1)]
        assert line["chunks"][-1][0] == line["source_length"]
        assert line["erased_units"] == 0
        spent = sum(compute for _, compute in line["chunks"])
        assert line["elapsed"][-1] - line["delays"][-1] <= spent + 0.001 * len(line["chunks"])


@pytest.mark.parametrize(
    "policy", [name for name in POLICIES if load_policy(name).policy.needs() <= ToyTranslator().provides]
)
def test_every_policy(policy: str, lists: Path, tmp_path: Path) -> None:
    spec = RunSpec(model="toy", policy=load_policy(policy))
    result = run_evaluation(spec, open_dataset(lists), tmp_path / "out", load=lambda spec: ToyTranslator())
    assert result is not None and len(result.instances) == 4 and not result.failed
    for one in result.instances:
        assert len(one.delays_ms) == len(one.prediction.split())
        assert list(one.delays_ms) == sorted(one.delays_ms)


def test_long_form_is_scored_by_segment(run: Run, mustc: Path, tmp_path: Path) -> None:
    status, _, _ = run("evaluate", mustc, "--long", "--model", "toy", "--output", tmp_path / "out")
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert status == 0
    assert {"StreamLAAL", "StreamLAAL_CA", "LongYAAL", "RTF"} <= set(scores)
    assert scores["BLEU"] > 95
    assert len(log(tmp_path / "out")) == 2
    assert (tmp_path / "out" / "segments.tsv").read_text().count("\n") == 7


def test_short_form_of_mustc(run: Run, mustc: Path, tmp_path: Path) -> None:
    status, _, _ = run("evaluate", mustc, "--model", "toy", "--output", tmp_path / "out", "--limit", 4)
    lines = log(tmp_path / "out")
    assert status == 0 and len(lines) == 4
    assert lines[1]["source"] == ["ted_0.wav"]
    assert lines[1]["offset"] == open_dataset(mustc).items[1].offset_s


def test_a_limit_may_be_raised(run: Run, lists: Path, tmp_path: Path) -> None:
    for limit in (1, 3, 4):
        run("evaluate", lists, "--model", "toy", "--output", tmp_path / "out", "--limit", limit)
        assert [line["index"] for line in log(tmp_path / "out")] == list(range(limit))
    run("evaluate", lists, "--model", "toy", "--output", tmp_path / "out", "--limit", 2)
    assert (tmp_path / "out" / "segments.tsv").read_text().count("\n") == 3


def test_json_output(run: Run, lists: Path, tmp_path: Path) -> None:
    status, shown, _ = run("evaluate", lists, "--model", "toy", "--output", tmp_path / "out", "--json")
    document = json.loads(shown)
    assert status == 0 and document["failed"] == 0 and document["BLEU"] == pytest.approx(100)


def test_settings_reach_the_policy(run: Run, lists: Path, tmp_path: Path) -> None:
    given = ("--policy", "wait_k", "--set", "k=2", "--set", "history.words=5", "--chunk-ms", "320")
    run("evaluate", lists, "--model", "toy", "--output", tmp_path / "out", *given)
    info = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (info["policy"]["parameters"]["k"], info["policy"]["history"]["words"], info["chunk_ms"]) == (2, 5, 320)
    assert log(tmp_path / "out")[0]["chunks"][0][0] == 320.0


def test_characters_as_unit(run: Run, lists: Path, tmp_path: Path) -> None:
    run("evaluate", lists, "--model", "toy", "--output", tmp_path / "out", "--unit", "char")
    for line in log(tmp_path / "out"):
        assert len(line["delays"]) == len(line["prediction"].replace(" ", ""))


def test_re_translation_is_counted_when_words_change_last(run: Run, lists: Path, tmp_path: Path) -> None:
    base = ("evaluate", lists, "--model", "toy", "--policy", "retranslation", "--set", "mask_k=0", "--output")
    run(*base, tmp_path / "changes")
    run(*base, tmp_path / "final", "--final-only")
    changes, final = log(tmp_path / "changes"), log(tmp_path / "final")
    assert [line["prediction"] for line in changes] == [line["prediction"] for line in final]
    assert sum(line["erased_units"] for line in changes) > 0
    assert all(delay == line["source_length"] for line in final for delay in line["delays"])
    assert changes[0]["delays"][0] < final[0]["delays"][0]
    assert json.loads((tmp_path / "changes" / "scores.json").read_text())["NE"] > 0


def test_two_workers_give_the_same_instances(run: Run, make_lists: Callable[[int], Path], tmp_path: Path) -> None:
    folder = make_lists(9)
    run("evaluate", folder, "--model", "toy", "--output", tmp_path / "one")
    run("evaluate", folder, "--model", "toy", "--output", tmp_path / "two", "--workers", 2)
    assert said(tmp_path / "one") == said(tmp_path / "two")
    one, two = (json.loads((tmp_path / name / "scores.json").read_text()) for name in ("one", "two"))
    ideal = [name for name in one if "_CA" not in name and "RTF" not in name]
    assert {name: one[name] for name in ideal} == {name: two[name] for name in ideal}


def test_a_sweep_feeds_the_curve(run: Run, lists: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "sweep.toml"
    recipe.write_text(f'model = "toy"\npolicy = "wait_k"\n[data]\npath = "{lists}"\n[sweep]\nk = [1, 5]\n')
    out = tmp_path / "out"
    status, shown, _ = run("evaluate", recipe, "--output", out)
    assert status == 0 and "wait_k-k=5" in shown and f"simulst curve {out}/*/" in shown
    table = [line.split("\t") for line in (out / "sweep.tsv").read_text().splitlines()]
    assert [row[0] for row in table] == ["run", "wait_k-k=1", "wait_k-k=5"]
    laal = table[0].index("LAAL")
    assert float(table[1][laal]) < float(table[2][laal])
    status, shown, _ = run("curve", *sorted(out.glob("*/")), "--json")
    document = json.loads(shown)
    assert status == 0
    assert [(point["series"], point["label"]) for point in document["points"]] == [("wait_k", "k=1"), ("wait_k", "k=5")]


# -- resuming ----------------------------------------------------------------------------------------------------------


def test_done_items_are_not_done_again(run: Run, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("evaluate", lists, "--model", "toy", "--output", out)
    lines = (out / "instances.log").read_text().splitlines()
    marked = [json.loads(lines[0]) | {"mark": "kept"}, json.loads(lines[2])]
    (out / "instances.log").write_text("".join(json.dumps(line) + "\n" for line in marked) + '{"index": 3, "pred')
    status, _, errors = run("evaluate", lists, "--model", "toy", "--output", out)
    assert status == 0 and "resuming after 2 of 4" in errors
    assert [line["index"] for line in log(out)] == [0, 1, 2, 3]
    assert log(out)[0]["mark"] == "kept"
    assert [json.dumps(json.loads(line)["prediction"]) for line in lines] == [
        json.dumps(x["prediction"]) for x in log(out)
    ]
    assert len(json.loads((out / "run.json").read_text())["sessions"]) == 2


def test_a_complete_run_is_only_scored_again(run: Run, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("evaluate", lists, "--model", "toy", "--output", out)
    before = (out / "instances.log").read_bytes()
    (out / "scores.json").unlink()
    assert run("evaluate", lists, "--model", "toy", "--output", out)[0] == 0
    assert (out / "instances.log").read_bytes() == before and (out / "scores.json").is_file()


def test_another_run_does_not_mix_in(run: Run, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output", out)
    status, _, errors = run("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--set", "k=9", "--output", out)
    assert status == 2
    assert errors == (
        f"simulst: {out} holds another run: policy.parameters.k is 5 there and 9 here; "
        f"choose another --output, or start over with --fresh.\n"
    )
    (lists / "target.txt").write_text("x\n" * 4)
    status, _, errors = run("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output", out)
    assert status == 2 and "holds another run: data.fingerprint is" in errors
    status, _, _ = run("evaluate", lists, "--model", "toy", "--policy", "offline", "--output", out, "--fresh")
    assert status == 0 and json.loads((out / "run.json").read_text())["policy"]["name"] == "offline"


def test_a_run_does_not_go_on_with_other_weights(run: Run, lists: Path, tmp_path: Path) -> None:
    from simulst.testing.speech_llm import make_tiny_speech_llm

    model, out = make_tiny_speech_llm(tmp_path / "llm"), tmp_path / "out"
    command = ("evaluate", lists, "--model", model, "--limit", 1, "--output", out)
    assert run(*command)[0] == 0 and run(*command)[0] == 0
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    status, _, errors = run(*command)
    assert status == 2 and errors.startswith(f'simulst: {out} holds another run: model.weights is "')
    info = json.loads((out / "run.json").read_text())
    del info["model"]["weights"]  # as before they were noted
    (out / "run.json").write_text(json.dumps(info))
    assert run(*command)[0] == 0


def test_other_files_are_left_alone(run: Run, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    for fresh in ((), ("--fresh",)):
        status, _, errors = run("evaluate", lists, "--model", "toy", "--output", out, *fresh)
        assert status == 2
        assert errors == (
            f"simulst: {out} is not empty (it has thesis.tex) and holds no run; choose another --output.\n"
        )
    assert [path.name for path in out.iterdir() if path.name != ".lock"] == ["thesis.tex"]


def test_only_one_process_writes(run: Run, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    take = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX)"
    holder = f"{take}; print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holder, out / ".lock"], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        status, _, errors = run("evaluate", lists, "--model", "toy", "--output", out)
        other.kill()
    assert status == 2
    assert errors == f"simulst: Another process is writing to {out}; wait for it or choose another --output.\n"


def test_ctrl_c_keeps_what_is_done(make_lists: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = make_lists(12, longest=6), tmp_path / "out"
    command = [sys.executable, TOY, "evaluate", folder, "--model", "slow-toy", "--output", out]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        until(lambda: (out / "instances.log").is_file() and len(log(out)) >= 2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("simulst: stopped; the same command resumes from here.\n") and "Traceback" not in errors
    done = len(log(out))
    assert 2 <= done < 12
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert finished.returncode == 0 and f"resuming after {done} of 12" in finished.stderr
    assert [line["index"] for line in log(out)] == list(range(12))


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_one_damaged_recording_does_not_stop_the_rest(run: Run, lists: Path, tmp_path: Path, workers: int) -> None:
    out, wav = tmp_path / "out", lists / "1.wav"
    whole = wav.read_bytes()
    wav.write_bytes(whole[: len(whole) // 2])
    status, _, errors = run("evaluate", lists, "--model", "toy", "--output", out, "--workers", workers)
    assert status == 3
    assert [line["index"] for line in log(out)] == [0, 2, 3]
    (failure,) = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    assert (failure["index"], failure["source"], failure["where"]) == (1, "1.wav", "source.txt, line 2")
    assert "is cut short or damaged" in failure["error"]
    assert f"note: 1 of 4 items failed: {out}/errors.jsonl." in errors
    assert (out / "segments.tsv").read_text().count("\n") == 4
    wav.write_bytes(whole)
    assert run("evaluate", lists, "--model", "toy", "--output", out)[0] == 0
    assert [line["index"] for line in log(out)] == [0, 1, 2, 3]
    assert (out / "errors.jsonl").read_text() == ""


def test_a_damaged_talk_leaves_the_scores_of_the_others(run: Run, mustc: Path, tmp_path: Path) -> None:
    wav = mustc / "wav" / "ted_1.wav"
    wav.write_bytes(wav.read_bytes()[: -len(wav.read_bytes()) // 10])
    (mustc / "txt" / "tst.yaml").write_text(
        "".join(line for line in (mustc / "txt" / "tst.yaml").read_text().splitlines(keepends=True)[:5])
    )
    for language in ("en", "de"):
        text = mustc / "txt" / f"tst.{language}"
        text.write_text("".join(text.read_text().splitlines(keepends=True)[:5]))
    status, _, errors = run("evaluate", mustc, "--long", "--model", "toy", "--output", tmp_path / "out")
    assert status == 3 and "1 of 2 items failed" in errors
    assert (tmp_path / "out" / "segments.tsv").read_text().count("\n") == 4


def test_what_is_wrong_is_known_before_any_work(run: Run, lists: Path, tmp_path: Path) -> None:
    (lists / "2.wav").unlink()
    status, _, errors = run("evaluate", lists, "--model", "toy", "--output", tmp_path / "out")
    assert status == 2 and errors.count("\n") == 1
    assert errors.startswith("simulst: source.txt, line 3: 2.wav does not exist; fix it, or leave such items out")
    assert not (tmp_path / "out").exists()
    status, _, errors = run("evaluate", lists, "--model", "toy", "--output", tmp_path / "out", "--skip-bad")
    assert status == 0 and "note: 1 of 4 items failed" in errors
    (failure,) = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert (failure["index"], failure["error"]) == (2, "2.wav does not exist")
    assert [line["index"] for line in log(tmp_path / "out")] == [0, 1, 3]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere",), "nowhere does not exist: give a MuST-C split"),
        (("{lists}", "--policy", "nope"), "Unknown policy 'nope'"),
        (("{lists}", "--model", "nope"), "Unknown model 'nope'"),
        (("{lists}", "--set", "nope=1"), "Unknown setting 'nope'"),
        (("{lists}", "--unit", "syllable"), "--unit must be word or char, not 'syllable'."),
        (("{lists}", "--profile", "nope"), "Unknown profile 'nope'"),
        pytest.param(
            ("{lists}", "--model", "tiny-en-de", "--policy", "confidence", "--set", "signal=no_speech"),
            "Policy confidence needs no_speech",
            marks=pytest.mark.slow,
        ),
        (("{lists}", "--workers", "0"), "Invalid value for '--workers'"),
        (("{lists}", "--long"), "--long needs a MuST-C split"),
    ],
)
def test_refusals_are_one_sentence(
    run: Run, lists: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    model = () if "--model" in arguments else ("--model", "toy")
    given = [argument.format(lists=lists) for argument in arguments]
    status, shown, errors = run("evaluate", *given, *model, "--output", tmp_path / "out")
    assert (status, shown) == (2, "")
    assert sentence in errors and errors.count("\n") == 1 and "Traceback" not in errors
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_made(run: Run, lists: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, errors = run("evaluate", lists, "--model", "toy", "--output", tmp_path / "file" / "out")
    assert status == 2 and errors == f"simulst: {tmp_path}/file/out cannot be made: not a directory.\n"


def test_items_without_references_are_translated(run: Run, lists: Path, tmp_path: Path) -> None:
    (lists / "target.txt").unlink()
    status, shown, errors = run("evaluate", lists, "--model", "toy", "--output", tmp_path / "out")
    assert status == 0 and "The test set has no references: nothing to score." in errors
    assert shown == f"{tmp_path}/out/instances.log\n"
    assert len(log(tmp_path / "out")) == 4


def test_a_model_that_says_nothing_is_scored(run: Run, lists: Path, tmp_path: Path) -> None:
    for number in range(4):
        soundfile.write(lists / f"{number}.wav", np.zeros(16_000), 16_000)
    status, shown, errors = run("evaluate", lists, "--model", "toy", "--policy", "wait_k", "--output", tmp_path / "out")
    assert status == 0 and "BLEU" in shown and "Traceback" not in errors
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["BLEU"] == 0


def test_if_all_fail_nothing_is_scored(run: Run, lists: Path, tmp_path: Path) -> None:
    for number in range(4):
        wav = lists / f"{number}.wav"
        wav.write_bytes(wav.read_bytes()[:-100])
    status, _, errors = run("evaluate", lists, "--model", "toy", "--output", tmp_path / "out")
    assert status == 2 and "All 4 items failed, the first with: " in errors


# -- processes ---------------------------------------------------------------------------------------------------------


def items(count: int) -> list[Item]:
    return [Item(index=i, audio=Path(f"{i}"), name=f"{i}", audio_s=float(i % 3)) for i in range(count)]


def echo(item: Item) -> Instance:
    return Instance(index=item.index, source=item.name, prediction="")


def test_a_worker_that_dies_costs_only_its_item() -> None:
    def translate(item: Item) -> Instance:
        if item.index == 3:
            signal.raise_signal(signal.SIGKILL)
        return echo(item)

    outcomes = {
        o.item.index: o
        for o in run_workers(items(7), lambda: partial(run_here, translate=translate), workers=2, share=True)
    }
    assert sorted(outcomes) == list(range(7))
    assert outcomes[3].error == "The worker process died on it 2 times (signal SIGKILL)."
    assert [index for index, outcome in outcomes.items() if outcome.error] == [3]


class AcceleratorError(RuntimeError):
    """Named as torch names what a GPU reports: CUDA's errors stick to the process."""


def test_a_worker_whose_device_fails_is_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    broken = False

    def translate(item: Item) -> Instance:
        nonlocal broken
        broken = broken or item.index == 3
        if broken:
            raise AcceleratorError("CUDA error: device-side assert triggered")
        return echo(item)

    work = partial(run_here, translate=translate)
    outcomes = {o.item.index: o for o in run_workers(items(7), lambda: work, workers=2, share=True)}
    assert {index for index, outcome in outcomes.items() if outcome.error} == {3} and len(outcomes) == 7
    assert outcomes[3].error == "The worker process died on it 2 times (exit status 70)."
    assert "device-side assert triggered" in capfd.readouterr().err


def test_without_workers_a_device_that_fails_ends_the_run_to_be_gone_on_with(
    run: Run, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Instance:
        raise AcceleratorError("CUDA error: an illegal memory access was encountered")

    command = ("evaluate", lists, "--model", "toy", "--output", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("simulst.eval.run.run.translate_item", fail)
        status, _, errors = run(*command)
    assert status == 2
    assert "failed (AcceleratorError: CUDA error: an illegal memory access was encountered); run the same co" in errors
    assert not (tmp_path / "out" / "errors.jsonl").exists()
    assert run(*command)[0] == 0 and len(log(tmp_path / "out")) == 4


def test_an_error_in_the_model_is_kept_with_its_trace() -> None:
    def translate(item: Item) -> Instance:
        return echo(item) if item.index else replace(echo(item), delays_ms=(1.0 / 0.0,))

    first, second = run_here(items(2), translate)
    assert first.error == "ZeroDivisionError: float division by zero"
    assert "test_evaluate.py" in str(first.record()["trace"])
    assert second == Outcome(item=items(2)[1], instance=echo(items(2)[1]))


def refuse() -> Any:
    raise ModuleNotFoundError("no weights")


def test_workers_that_load_for_themselves() -> None:
    """As on a GPU, which cannot be forked."""
    outcomes = list(run_workers(items(3), load_echo, workers=2, share=False))
    assert sorted(o.item.index for o in outcomes) == [0, 1, 2] and not any(o.error for o in outcomes)
    outcomes = list(run_workers(items(1), refuse, workers=1, share=False))
    assert outcomes[0].error == "ModuleNotFoundError: no weights"


def load_echo() -> Work:
    return partial(run_here, translate=echo)


def test_workers_share_the_model_in_memory() -> None:
    """A model of 64 MB of memory that two workers read does not become 128 MB more."""
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    weights = np.ones(8_000_000)

    def translate(item: Item) -> Instance:
        rollup = Path("/proc/self/smaps_rollup").read_text()
        own_kb = int(rollup.split("Private_Dirty:")[1].split()[0])
        return replace(echo(item), prediction=f"{weights.sum():.0f}", extra={"own_mb": own_kb / 1024})

    for outcome in run_workers(items(4), lambda: partial(run_here, translate=translate), workers=2, share=True):
        assert outcome.instance is not None and outcome.instance.prediction == "8000000"
        own_mb = outcome.instance.extra["own_mb"]
        assert isinstance(own_mb, float) and own_mb < 40


def test_shards_are_disjoint_complete_and_of_like_length() -> None:
    everything = items(11)
    shards = []
    for rank in range(3):
        gang = Gang()
        gang.rank, gang.size = rank, 3
        shards.append(gang.share(everything))
    assert sorted(item.index for shard in shards for item in shard) == list(range(11))
    loads = [sum(item.audio_s for item in shard) for shard in shards]
    assert max(loads) - min(loads) <= 2


def test_audio_in_pieces() -> None:
    samples = np.arange(100, dtype=np.float32)
    for cuts in ([], [30], [3, 4, 90], [25, 50, 75], list(range(1, 100))):
        cut = list(pieces(iter(np.split(samples, cuts)), 25))
        assert [len(piece) for piece in cut] == [25] * 4
        np.testing.assert_array_equal(np.concatenate(cut), samples)
    assert [len(piece) for piece in pieces(iter([samples]), 40)] == [40, 40, 20]
    assert list(pieces(iter([]), 40)) == []


def test_the_order_of_items_does_not_matter(lists: Path) -> None:
    model, spec = ToyTranslator(), RunSpec(model="toy", policy=load_policy("ralcp", sample=True))
    dataset = open_dataset(lists)
    forwards = [translate_item(model, spec, item) for item in dataset.items]
    backwards = [translate_item(model, spec, item) for item in reversed(dataset.items)]
    assert [one.prediction for one in forwards] == [one.prediction for one in reversed(backwards)]


@pytest.mark.parametrize(("device", "workers"), [("cuda:9", 1), ("cuda:9", 2), ("tpu", 2)])
def test_a_device_that_is_not_there(run: Run, lists: Path, tmp_path: Path, device: str, workers: int) -> None:
    given = ("evaluate", lists, "--model", "toy", "--device", device, "--workers", workers)
    status, _, errors = run(*given, "--output", tmp_path / "out")
    assert status == 2 and errors.count("\n") == 1 and f"device '{device}'" in errors.lower()
    assert not (tmp_path / "out").exists()
