"""Text-to-text agents under SimulEval's command line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from simulst.testing import toy_text
from simulst.testing.speech_llm import make_tiny_speech_llm

pytestmark = pytest.mark.slow

Calls = Callable[[Sequence[Sequence[str]]], None]
AGENTS = Path(__file__).parents[2] / "agents"
SAID = [[3, 14, 15, 9, 26, 5, 35], [8], []]


@pytest.fixture(scope="module")
def runs(simuleval: Calls, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("text")
    source, target = out / "source.txt", out / "target.txt"
    source.write_text("".join(" ".join(f"s{word}" for word in words) + "\n" for words in SAID))
    target.write_text("".join(f"{toy_text(words)}\n" for words in SAID))
    words = out / "words.txt"
    words.write_text("the cat sat on the mat\na dog ran to the house\n")
    (out / "two.txt").write_text("x\ny\n")
    llm = make_tiny_speech_llm(out / "llm")

    def job(name: str, policy: str, model: str, source: Path, target: Path, *extra: str) -> list[str]:
        agent = f"{AGENTS}/{policy}_text.py"
        lists = ["--source", str(source), "--target", str(target)]
        return ["--agent", agent, "--model", model, *lists, "--output", str(out / name), *extra]

    simuleval(
        [
            *[job(policy, policy, "toy", source, target) for policy in ("wait_k", "local_agreement", "taf")],
            job("k1", "wait_k", "toy", source, target, "--set", "k=1"),
            job("ralcp", "ralcp", str(llm), words, out / "two.txt", "--set", "candidates=3"),
            job("llm", "wait_k", str(llm), words, out / "two.txt"),
        ]
    )
    return out


def test_wait_k_writes_the_first_word_after_k(runs: Path, read_log: Callable[[Path], Any]) -> None:
    for name, k in (("wait_k", 5), ("k1", 1)):
        for line, words in zip(read_log(runs / name), SAID, strict=True):
            assert line["prediction"] == toy_text(words)
            assert line["delays"] == [min(k + i, len(words)) for i in range(len(words))]
            assert line["source_length"] == len(words)


def test_agreement_waits_for_two_hypotheses(runs: Path, read_log: Callable[[Path], Any]) -> None:
    first, second, third = read_log(runs / "local_agreement")
    assert first["prediction"] == toy_text(SAID[0])
    assert first["delays"] == [2, 3, 4, 5, 6, 7, 7]
    assert second["delays"] == [1]
    assert (third["prediction"], third["delays"]) == ("", [])


def test_taf_begins_after_its_first_words(runs: Path, read_log: Callable[[Path], Any]) -> None:
    line = read_log(runs / "taf")[0]
    assert line["prediction"].split()[:3] == toy_text(SAID[0]).split()[:3]
    assert line["delays"][0] == 3


@pytest.mark.parametrize("name", ["ralcp", "llm"])
def test_a_speech_llm_translates_text(runs: Path, name: str, read_log: Callable[[Path], Any]) -> None:
    lines = read_log(runs / name)
    assert [line["source_length"] for line in lines] == [6, 6]
    assert all(line["prediction"] for line in lines)
    assert all(line["delays"] == sorted(line["delays"]) for line in lines)
