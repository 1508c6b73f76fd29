"""Models on a device that is not the CPU, without one: nothing mixes devices, and few values are asked for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.query import Query
from simulst.core.session import Session
from simulst.models.attention import choose_heads
from simulst.models.speech_llm.arithmetic import Arithmetic
from simulst.models.speech_llm.batching import Batcher
from simulst.models.speech_llm.network import load_weights, read_config
from simulst.models.speech_llm.options import Options
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.models.speech_llm.vocabulary import VOCABULARY_FILE, SentencePieceVocabulary
from simulst.models.speech_llm.weights import Weights
from simulst.models.warm import elsewhere, warm
from simulst.policies import load_policy
from simulst.testing.accelerator import DEVICE, MixedDevicesError, Pretend
from simulst.testing.speech_llm import make_tiny_speech_llm

AUDIO = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
POLICIES = {
    "stream_att": Options(),
    "edatt": Options(),
    "wait_k": Options(),
    "local_agreement": Options(),
    "ralcp": Options(),
    "gpe_wait_k": Options(positions="grouped"),
    "read_write": Options(),
    "infinite": Options(cache="evict"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("device") / "model")


@pytest.fixture
def counted() -> Iterator[Pretend]:
    with Pretend() as pretend:
        yield pretend


def on(device: torch.device, folder: Path, options: Options) -> SpeechLLMTranslator:
    config = read_config(folder)
    model = load_weights(folder, config).to(device)
    heads = choose_heads(folder, None, [])
    vocabulary = SentencePieceVocabulary(folder / VOCABULARY_FILE)
    weights = Weights(model, vocabulary, options=options, heads=heads, arithmetic=Arithmetic())
    return SpeechLLMTranslator(weights, name="tiny", directory=folder)


def said(model: object, policy: str) -> Session:
    session = Session(model, load_policy(policy))  # type: ignore[arg-type]
    for at in range(0, len(AUDIO), 16_000):
        session.feed(AUDIO[at : at + 16_000])
    session.finish()
    return session


def test_devices_that_meet_are_noticed(counted: Pretend) -> None:
    there = torch.ones(3).to(DEVICE)
    assert there.device == DEVICE and counted.copies == 1
    assert (there + there).tolist() == [2.0, 2.0, 2.0] and counted.syncs == 1
    assert bool(there.sum() == 3) and float(there[0]) == 1.0 and counted.syncs == 3
    assert there.cpu().numpy().tolist() == [1.0, 1.0, 1.0] and counted.syncs == 4
    with pytest.raises(MixedDevicesError):
        there + torch.ones(3)


def _policies() -> list[object]:
    """Two of them in the fast part of the run."""
    quick = ("stream_att", "read_write")
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in POLICIES]


@pytest.mark.parametrize("policy", _policies())
def test_every_policy_says_what_it_says_on_the_cpu(folder: Path, policy: str) -> None:
    expected = said(on(torch.device("cpu"), folder, POLICIES[policy]), policy).text
    with Pretend() as counted:
        found = said(on(DEVICE, folder, POLICIES[policy]), policy).text
    assert found == expected
    assert counted.launches > 1_000


@pytest.mark.parametrize("rows", [True, False])
def test_a_token_asks_for_one_value(folder: Path, counted: Pretend, rows: bool) -> None:
    """One copy brings what was chosen, its log-probability and its row; one takes the token to the device."""
    from simulst.core.translator import Evidence

    session = on(DEVICE, folder, Options(no_repeat_ngram=0)).open()
    session.extend_source(AUDIO)
    want = frozenset({Evidence.LOGPROBS, Evidence.ALIGNMENT} if rows else {Evidence.LOGPROBS})
    costs = []
    for count in (1, 11):
        before = counted.syncs, counted.copies
        (found,) = session.hypothesise([], Query(max_new=count, want=want))
        assert len(found.ids) == count
        costs.append((counted.syncs - before[0], counted.copies - before[1]))
    assert (costs[1][0] - costs[0][0]) / 10 <= 1
    assert (costs[1][1] - costs[0][1]) / 10 <= 1


def test_a_model_elsewhere_has_worked_before_its_first_stream(folder: Path, counted: Pretend) -> None:
    assert not elsewhere(on(torch.device("cpu"), folder, Options()))
    model = on(DEVICE, folder, Options())
    assert elsewhere(model)
    before = counted.launches
    warm(model)
    assert counted.launches - before > 1_000


def test_streams_together(folder: Path) -> None:
    """Each stream has a thread, and modes of torch are those of a thread."""

    def translate(translator: object, gain: float) -> tuple[int, ...]:
        assert isinstance(translator, SpeechLLMTranslator)
        with Pretend():
            session = translator.open()
            session.extend_source((gain * AUDIO).astype(np.float32), is_final=True)
            return session.hypothesise([], Query(max_new=5))[0].ids

    with Pretend():
        model = on(DEVICE, folder, Options())
        alone = [translate(model, gain) for gain in (1.0, 0.5)]
        batcher = Batcher(model, streams=2)
        assert batcher.map(translate, (1.0, 0.5)) == alone
    assert batcher.stats.mean > 1
