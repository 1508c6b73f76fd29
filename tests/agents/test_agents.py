"""The agents as SimulEval calls them: states, devices, options, pipelines of one, and its many traps."""

import argparse
import importlib.util
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import simulst.models
from simulst.errors import ModelError
from simulst.policies import POLICIES
from simulst.testing import ToyTranslator, toy_audio, toy_text

pytest.importorskip("simuleval", reason="simuleval is not installed in this interpreter (docs/simuleval.md)")

from simuleval import options
from simuleval.data.segments import EmptySegment, SpeechSegment, TextSegment
from simuleval.utils import EVALUATION_SYSTEM_LIST

import simulst.agents
from simulst.agents import TEXT_POLICIES, LazySpeech, agent_names, speech_agent, text_agent
from simulst.agents.settings import add_options

pytestmark = pytest.mark.slow

AGENTS = Path(__file__).parents[2] / "agents"
WORDS = [3, 14, 15, 0, 9, 26, 5, 35, 8, 40, 7, 9]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """`--model toy`; the arguments of every load."""
    loads: list[dict[str, Any]] = []

    def load(name: str, **given: Any) -> ToyTranslator:
        if name != "toy":
            raise ModelError(f"Unknown model '{name}'; give one.")
        loads.append(given)
        return ToyTranslator()

    monkeypatch.setattr(simulst.models, "load_model", load)
    monkeypatch.setattr(simulst.models, "option_names", lambda name: frozenset())
    yield loads


def arguments(**given: Any) -> Namespace:
    defaults = {"model": "toy", "source_segment_size": 640, "device": "cpu", "dtype": None, "fp16": False}
    return Namespace(**{**defaults, "eval_latency_unit": "word", "policy": None, "set": [], "chunk_ms": None, **given})


def segments(samples: Any, size: int, rate: int = 16_000, **given: Any) -> list[SpeechSegment]:
    cuts = list(range(0, len(samples), size))
    return [
        SpeechSegment(content=samples[i : i + size], sample_rate=rate, finished=i == cuts[-1], tgt_lang=None, **given)
        for i in cuts
    ]


def text_of(agent: Any, parts: list[SpeechSegment], states: Any = None) -> str:
    out = [agent.pushpop(part, states) for part in parts]
    return " ".join(segment.content for segment in out if not segment.is_empty and segment.content)


def test_every_policy_has_an_entry_file_and_a_class() -> None:
    expected = set(POLICIES) | {f"{name}_text" for name in TEXT_POLICIES}
    assert {path.stem for path in AGENTS.glob("*.py")} == expected
    for name, policy in agent_names().items():
        assert getattr(simulst.agents, name).policy_name == policy
    with pytest.raises(AttributeError):
        simulst.agents.NoSuchAgent  # noqa: B018


@pytest.mark.parametrize("path", sorted(AGENTS.glob("*.py")), ids=lambda path: path.stem)
def test_entry_files_are_loaded_as_simuleval_loads_them(path: Path) -> None:
    EVALUATION_SYSTEM_LIST.clear()
    spec = importlib.util.spec_from_file_location("agents", path)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))  # outside sys.modules, as there
    (kind,) = EVALUATION_SYSTEM_LIST
    assert kind.policy_name == path.stem.removesuffix("_text")
    assert kind.source_type == ("text" if path.stem.endswith("_text") else "speech")
    assert len(path.read_text().splitlines()) <= 8


def test_no_option_begins_an_option_of_the_harness() -> None:
    """Its first parsers know only their own options and take abbreviations."""
    harness = options.general_parser()
    options.add_evaluator_args(harness)
    options.add_scorer_args(harness, [])
    options.add_slurm_args(harness)
    options.add_dataloader_args(harness, [])
    theirs = {name for action in harness._actions for name in action.option_strings}
    parser = argparse.ArgumentParser(add_help=False)
    add_options(parser, "wait_k")
    ours = {name for action in parser._actions for name in action.option_strings}
    assert {"--model", "--policy", "--set", "--chunk-ms"} <= ours
    assert not [(own, other) for own in ours for other in theirs if other.startswith(own)]


def test_states_keep_no_samples_and_take_lists_and_arrays() -> None:
    agent = speech_agent("stream_att")(arguments())
    samples = toy_audio(WORDS)
    assert text_of(agent, segments(samples.tolist(), 10_240)) == toy_text(WORDS)
    assert agent.states.source == [] and agent.states.pending == []
    agent.reset()
    assert text_of(agent, segments(samples, 10_240)) == toy_text(WORDS)


def test_stereo_and_other_rates() -> None:
    agent = speech_agent("offline")(arguments())
    stereo = np.stack([toy_audio(WORDS)] * 2, axis=1)
    assert text_of(agent, segments(stereo.tolist(), 10_240)) == toy_text(WORDS)
    agent.reset()
    slow = np.repeat(toy_audio(WORDS), 2)  # 32 kHz
    assert text_of(agent, segments(slow, 20_480, rate=32_000)) == toy_text(WORDS)
    assert agent.states.source_sample_rate == 32_000


def test_the_end_of_the_source_is_always_one_finished_write() -> None:
    agent = speech_agent("wait_k")(arguments())
    parts = segments(toy_audio(WORDS), 10_240)
    outputs = [agent.pushpop(part) for part in parts]
    assert [out.finished for out in outputs] == [False] * (len(parts) - 1) + [True]
    assert agent.pushpop(EmptySegment(finished=True)).is_empty
    agent.reset()
    silent = agent.pushpop(segments(np.zeros(100, np.float32), 100)[0])
    assert (silent.content, silent.finished) == ("", True)
    agent.reset()
    nothing = agent.pushpop(EmptySegment(finished=True))
    assert (nothing.content, nothing.finished) == ("", True)


def test_nothing_leaks_into_the_next_sentence() -> None:
    agent = speech_agent("local_agreement")(arguments())
    first, second = toy_audio(WORDS), toy_audio([50, 51, 52])
    for samples, words in ((first, WORDS), (second, [50, 51, 52]), (first, WORDS)):
        assert text_of(agent, segments(samples, 10_240)) == toy_text(words)
        agent.reset()


def test_two_streams_share_a_model(toy: list[dict[str, Any]]) -> None:
    agent = speech_agent("stream_att")(arguments())
    other = [50, 1, 33, 2, 19, 4, 5]
    one, two = agent.build_states(), agent.build_states()
    said: list[list[str]] = [[], []]
    left = [segments(toy_audio(WORDS), 10_240), segments(toy_audio(other), 10_240)]
    while any(left):
        for number, states in enumerate((one, two)):
            if left[number]:
                out = agent.pushpop(left[number].pop(0), states)
                said[number] += [] if out.is_empty else [str(out.content)]
    assert [" ".join(filter(None, parts)) for parts in said] == [toy_text(WORDS), toy_text(other)]
    assert len(toy) == 1


def test_language_tags_that_are_none() -> None:
    agent = speech_agent("offline")(arguments())
    part = segments(toy_audio(WORDS), len(toy_audio(WORDS)))[0]
    part.tgt_lang = SpeechSegment().tgt_lang  # the object typing.Optional[str]
    agent.push(part)
    assert agent.states.tgt_lang is None
    agent.reset()
    part.tgt_lang = "de"
    agent.push(part)
    assert agent.states.tgt_lang == "de"


def test_moving_and_half_precision(toy: list[dict[str, Any]]) -> None:
    agent = speech_agent("offline").from_args(arguments())
    agent.to("cpu", fp16=False)
    assert toy == [{"device": "cpu"}]
    agent.to("cuda", fp16=True)
    assert (agent.device, agent.model.name, toy[-1]) == ("cuda", "toy", {"device": "cuda", "dtype": "float16"})
    speech_agent("offline").from_args(arguments(dtype="fp16"))
    assert toy[-1] == {"device": "cpu", "dtype": "float16"}
    speech_agent("offline").from_args(arguments(model_dtype="bfloat16"))
    assert toy[-1] == {"device": "cpu", "dtype": "bfloat16"}


def test_the_chunk_is_the_segment_unless_that_is_the_harness_default() -> None:
    kind = speech_agent("local_agreement")
    assert kind(arguments()).open_session().chunk_ms == 640
    assert kind(arguments(source_segment_size=1)).open_session().chunk_ms == 1000
    assert kind(arguments(chunk_ms=320)).open_session().chunk_ms == 320


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"model": "nope"}, "simulst: Unknown model 'nope'; give one.\n"),
        ({"set": ["k=0"]}, "simulst: wait_k: k is 0; it must be at least 1.\n"),
        ({"set": ["q=1"]}, "simulst: Unknown setting 'q'; known for policy wait_k: k, words"),
        ({"policy": "emma"}, "simulst: Policy emma needs p_choose, which model toy does not provide"),
    ],
)
def test_mistakes_are_one_sentence(
    given: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulst.models, "describe_models", list)
    with pytest.raises(SystemExit) as end:
        speech_agent("wait_k").from_args(arguments(**given))
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(sentence)


def test_damaged_audio_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    agent = speech_agent("wait_k").from_args(arguments())
    samples = np.full(10_240, np.nan, np.float32)
    with pytest.raises(SystemExit):
        agent.pushpop(segments(samples, 10_240)[0])
    assert capsys.readouterr().err == "simulst: The samples hold NaN or infinite values; the source is broken.\n"


def test_text_agents_take_a_word_at_a_time() -> None:
    agent = text_agent("wait_k")(arguments(set=["k=2"]))
    words = [3, 14, 15]
    parts = [TextSegment(content=f"s{word}", finished=word == words[-1]) for word in words]
    outputs = [agent.pushpop(part) for part in parts]
    assert outputs[0].is_empty
    assert (outputs[1].content, outputs[1].finished) == ("w3", False)
    assert (outputs[2].content, outputs[2].finished) == ("v14 w15", True)


def test_pieces_of_a_sentencepiece_model(tmp_path: Path) -> None:
    import sentencepiece

    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(toy_text([i, i + 1, i + 2]) for i in range(1, 58)) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(tmp_path / "spm"), vocab_size=30, minloglevel=2
    )
    agent = speech_agent("wait_k")(
        arguments(eval_latency_unit="spm", eval_latency_spm_model=str(tmp_path / "spm.model"))
    )
    pieces = text_of(agent, segments(toy_audio(WORDS), 10_240)).split(" ")
    assert len(pieces) > len(toy_text(WORDS).split())
    assert "".join(pieces).replace("\u2581", " ").strip() == toy_text(WORDS)


def loader_arguments(folder: Path) -> Namespace:
    return Namespace(source=str(folder / "source.txt"), target=str(folder / "target.txt"), tgt_lang=None)


def test_the_lazy_loader_reads_what_is_asked(speech: Path) -> None:
    loader = LazySpeech.from_args(loader_arguments(speech))
    item = loader[2]["source"]
    whole, _ = soundfile.read(speech / "2.wav", dtype="float32")
    assert loader[2]["source"] is item and len(item) == len(whole)
    np.testing.assert_array_equal(np.concatenate([item[i : i + 999] for i in range(0, len(whole), 999)]), whole)
    assert loader.get_source_audio_info(2).samplerate == 16_000
    assert str(loader.get_source_audio_info(2)).split("\n")[0].endswith("2.wav")


def test_the_lazy_loader_resamples_and_mixes(speech: Path, tmp_path: Path) -> None:
    samples = toy_audio(WORDS)
    soundfile.write(tmp_path / "a.wav", np.stack([np.repeat(samples, 2)] * 2, axis=1), 32_000, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", np.stack([samples] * 2, axis=1), 16_000, subtype="FLOAT")
    (tmp_path / "source.txt").write_text(f"{tmp_path}/a.wav\n{tmp_path}/b.wav\n")
    (tmp_path / "target.txt").write_text("x\ny\n")
    loader = LazySpeech.from_args(loader_arguments(tmp_path))
    for index in (0, 1):
        agent = speech_agent("offline")(arguments())
        source = loader[index]["source"]
        assert len(source) == len(samples)
        assert text_of(agent, segments(source, 10_240)) == toy_text(WORDS)


def test_the_lazy_loader_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source.txt").write_text("missing.wav\n")
    (tmp_path / "target.txt").write_text("x\n")
    with pytest.raises(SystemExit) as end:
        LazySpeech.from_args(loader_arguments(tmp_path))
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("simulst: source.txt, line 1: missing.wav does not exist")


def test_the_tool_itself_says_it_with_status_2(python: str) -> None:
    command = [python, "-m", "simuleval.cli", "--agent", str(AGENTS / "wait_k.py"), "--set", "k=0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "simulst: wait_k: k is 0; it must be at least 1."
