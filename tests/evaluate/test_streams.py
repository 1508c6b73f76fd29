"""Several items at once in one process, and in each of several."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulst.core.translator import Translator
from simulst.eval.data import Item, open_dataset
from simulst.eval.logs.instances import Instance
from simulst.eval.run import RunSpec, Settings, run_evaluation
from simulst.eval.run.pool import Outcome, Work, attempt, run_workers
from simulst.policies import load_policy
from simulst.testing import ToyTranslator

Said = list[tuple[int, str, tuple[float, ...]]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    from simulst.models import load_model
    from simulst.testing.speech_llm import make_tiny_speech_llm

    return load_model(make_tiny_speech_llm(tmp_path_factory.mktemp("tiny") / "model"))


def evaluated(model: Translator, folder: Path, out: Path, policy: str = "wait_k", **settings: Any) -> Said:
    spec = RunSpec(model="tiny", policy=load_policy(policy))
    result = run_evaluation(spec, open_dataset(folder), out, Settings(**settings), load=lambda spec: model)
    assert result is not None
    return [(one.index, one.prediction, one.delays_ms) for one in result.instances]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["wait_k", "stream_att", "local_agreement", "ralcp"])
def test_items_of_a_batch_say_what_each_says_alone(
    tiny: Translator, make_lists: Callable[..., Path], tmp_path: Path, policy: str
) -> None:
    folder = make_lists(7)
    alone = evaluated(tiny, folder, tmp_path / "alone", policy)
    assert any(prediction for _, prediction, _ in alone)
    for number, settings in enumerate(({"batch": 3}, {"batch": 2, "workers": 2}, {"batch": 16})):
        out = tmp_path / str(number)
        assert evaluated(tiny, folder, out, policy, **settings) == alone
        assert json.loads((out / "run.json").read_text())["batch"] == settings["batch"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_recording_drops_only_its_own_stream(
    tiny: Translator, make_lists: Callable[..., Path], tmp_path: Path, workers: int
) -> None:
    folder, out = make_lists(6), tmp_path / "out"
    alone = evaluated(tiny, folder, tmp_path / "alone")
    whole = (folder / "2.wav").read_bytes()
    (folder / "2.wav").write_bytes(whole[: len(whole) // 2])
    said = evaluated(tiny, folder, out, batch=3, workers=workers)
    assert said == [line for line in alone if line[0] != 2]
    (failure,) = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    assert failure["index"] == 2 and "is cut short or damaged" in failure["error"]
    (folder / "2.wav").write_bytes(whole)
    assert evaluated(tiny, folder, out, batch=3, workers=workers) == alone
    assert (out / "errors.jsonl").read_text() == ""


@pytest.mark.slow
def test_an_error_in_a_shared_step_stays_with_its_cause(
    tiny: Translator, make_lists: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    from simulst.models.speech_llm.encoder_batch import step_many

    folder = make_lists(5)
    alone = evaluated(tiny, folder, tmp_path / "alone")
    samples, rate = soundfile.read(folder / "3.wav", dtype="float32")
    samples[len(samples) // 2] = 7.0
    soundfile.write(folder / "3.wav", samples, rate, subtype="FLOAT")

    def step(encoder: Any, pushes: Any) -> Any:
        if any((push.samples > 5.0).any() for push in pushes):
            raise MemoryError("too much")
        return step_many(encoder, pushes)

    monkeypatch.setattr("simulst.models.speech_llm.batching.step_many", step)
    said = evaluated(tiny, folder, tmp_path / "out", batch=5)
    assert said == [line for line in alone if line[0] != 3]
    (failure,) = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert (failure["index"], failure["error"]) == (3, "MemoryError: too much")


@pytest.mark.slow
def test_a_model_without_batches_takes_one_at_a_time(
    lists: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = evaluated(ToyTranslator(), lists, tmp_path / "out", batch=4)
    assert said == evaluated(ToyTranslator(), lists, tmp_path / "alone")
    assert caplog.messages == [
        "Model toy cannot decode several streams together; speech LLMs, encoder-decoders and cascades of them can. "
        "One item at a time, without --batch."
    ]


# -- workers with several items ----------------------------------------------------------------------------------------


def items(count: int) -> list[Item]:
    return [Item(index=i, audio=Path(f"{i}"), name=f"{i}", audio_s=1.0) for i in range(count)]


def threaded(translate: Callable[[Item], Instance], count: int) -> Work:
    """A thread for each item of up to `count`, as the batcher has them."""

    def work(given: Iterable[Item]) -> Iterator[Outcome]:
        source, taking, found = iter(given), threading.Lock(), list[Outcome]()

        def run() -> None:
            while True:
                with taking:
                    item = next(source, None)
                if item is None:
                    return
                found.append(attempt(translate, item))

        threads = [threading.Thread(target=run) for _ in range(count)]
        for thread in threads:
            thread.start()
        while found or any(thread.is_alive() for thread in threads):
            while found:
                yield found.pop(0)
            time.sleep(0.002)

    return work


def test_of_the_items_of_a_worker_that_dies_only_the_cause_is_lost() -> None:
    def translate(item: Item) -> Instance:
        time.sleep(0.02)
        if item.index == 4:
            signal.raise_signal(signal.SIGKILL)
        return Instance(index=item.index, source=item.name, prediction=str(os.getpid()))

    run = run_workers(items(11), lambda: threaded(translate, 3), workers=2, share=True, batch=3)
    outcomes = list(run)
    assert sorted(outcome.item.index for outcome in outcomes) == list(range(11))
    (lost,) = [outcome for outcome in outcomes if outcome.error]
    assert lost.item.index == 4
    assert lost.error == "The worker process died on it 2 times (signal SIGKILL)."


def test_few_items_are_shared_out_evenly() -> None:
    def translate(item: Item) -> Instance:
        time.sleep(0.05)
        return Instance(index=item.index, source=item.name, prediction=str(os.getpid()))

    run = run_workers(items(6), lambda: threaded(translate, 8), workers=2, share=True, batch=8)
    workers = [outcome.instance.prediction for outcome in run if outcome.instance is not None]
    assert sorted(workers.count(worker) for worker in set(workers)) == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_a_batch_within_a_chunk(tmp_path: Path, workers: int) -> None:
    import soundfile

    from simulst.testing.speech_llm import make_tiny_speech_llm

    model, folder, out = make_tiny_speech_llm(tmp_path / "model"), tmp_path / "lists", tmp_path / "out"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lengths = [1, 1, *[600] * 3]
    for number, seconds in enumerate(lengths):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(16_000 * seconds), 16_000)
    (folder / "source.txt").write_text("".join(f"{number}.wav\n" for number in range(len(lengths))))
    (folder / "target.txt").write_text("x\n" * len(lengths))
    command = [sys.executable, "-m", "simulst.cli", "evaluate", folder, "--model", model, "--batch", "5", "-o", out]
    with subprocess.Popen([*map(str, command), "-w", str(workers)], stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 120
        while not (out / "instances.log").is_file() or (out / "instances.log").read_text().count("\n") < 2:
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("simulst: stopped; the same command resumes from here.\n") and "Traceback" not in errors
    assert sorted(json.loads(line)["index"] for line in (out / "instances.log").read_text().splitlines()) == [0, 1]
