"""Models on a device that is not the CPU, without one: nothing mixes devices, and few values are asked for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.query import Query
from simulst.core.session import Session
from simulst.core.translator import Evidence, Translator, TranslatorSession
from simulst.models.attention import choose_heads
from simulst.models.speech_llm.arithmetic import Arithmetic
from simulst.models.speech_llm.batching import Batcher
from simulst.models.speech_llm.encoder import BlockCausalEncoder
from simulst.models.speech_llm.graphs import Capture
from simulst.models.speech_llm.monotonic import MonotonicHeads
from simulst.models.speech_llm.network import load_weights, read_config
from simulst.models.speech_llm.options import Options
from simulst.models.speech_llm.transducer import JointNetwork
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.models.speech_llm.vocabulary import VOCABULARY_FILE, SentencePieceVocabulary
from simulst.models.speech_llm.weights import Weights
from simulst.models.warm import elsewhere, warm
from simulst.policies import load_policy, names
from simulst.testing.accelerator import DEVICE, CaptureError, MixedDevicesError, Pretend
from simulst.testing.recorder import Recorder
from simulst.testing.speech_llm import make_tiny_speech_llm

pytestmark = pytest.mark.slow

AUDIO = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
POLICIES = dict.fromkeys(names.POLICIES, Options()) | {
    "gpe_wait_k": Options(positions="grouped"),
    "infinite": Options(cache="evict"),
}

SETTINGS = {"joint": {"tokens_per_block": 8}}
"""Random weights end no turn of a joint model before its limit."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("device") / "model")


@pytest.fixture
def counted() -> Iterator[Pretend]:
    with Pretend() as pretend:
        yield pretend


def on(device: torch.device, folder: Path, options: Options, capture: Capture | None = None) -> SpeechLLMTranslator:
    """A model on a device, where `capture` records single tokens."""
    config = read_config(folder)
    model = load_weights(folder, config).to(device)
    heads = choose_heads(folder, None, [])
    vocabulary = SentencePieceVocabulary(folder / VOCABULARY_FILE)
    torch.manual_seed(0)
    chooses = MonotonicHeads((1,), widths=(32, 16), heads=1, size=4, hidden=8).requires_grad_(False).to(device)
    joins = JointNetwork(32, 8).requires_grad_(False).to(device)
    weights = Weights(
        model, vocabulary, options=options, heads=heads, arithmetic=Arithmetic(), monotonic=chooses, transducer=joins
    )
    weights.capture = capture
    return SpeechLLMTranslator(weights, name="tiny", directory=folder)


def said(model: object, policy: str) -> Session:
    session = Session(model, load_policy(policy, **SETTINGS.get(policy, {})))  # type: ignore[arg-type]
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
    """What a joint model says is all transcript here."""
    expected = said(on(torch.device("cpu"), folder, POLICIES[policy]), policy)
    with Pretend() as counted:
        found = said(on(DEVICE, folder, POLICIES[policy]), policy)
    assert (found.text, found.transcript()) == (expected.text, expected.transcript())
    assert expected.text or expected.transcript()
    assert counted.launches > 1_000


@pytest.mark.parametrize("rows", [True, False])
def test_a_token_asks_for_one_value(folder: Path, counted: Pretend, rows: bool) -> None:
    """One copy brings what was chosen, its log-probability and its row; one takes the token to the device."""
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


@pytest.mark.parametrize("rows", [True, False])
def test_a_recorded_token_is_few_launches(folder: Path, counted: Pretend, rows: bool) -> None:
    """At most 60 launches a token, the playing back being one, one value asked for and two copies there."""
    recorder = Recorder(counted)
    session = on(DEVICE, folder, Options(), recorder).open()
    session.extend_source(AUDIO)
    want = frozenset({Evidence.LOGPROBS, Evidence.ALIGNMENT} if rows else {Evidence.LOGPROBS})
    session.hypothesise([], Query(max_new=2, want=want))  # records the step
    costs = []
    for count in (1, 11):
        before = counted.launches, counted.syncs, counted.copies
        (found,) = session.hypothesise([], Query(max_new=count, want=want))
        assert len(found.ids) == count
        after = counted.launches, counted.syncs, counted.copies
        costs.append([b - a for a, b in zip(before, after, strict=True)])
    launches, syncs, copies = ((b - a) / 10 for a, b in zip(*costs, strict=True))
    assert recorder.played == 1 + 1 + 11  # also the mark that asks for the translation, where speech is cached
    assert launches <= 60 and syncs <= 1 and copies <= 2


@pytest.mark.parametrize("policy", ["stream_att", "read_write"])
def test_recorded_tokens_say_what_the_cpu_says(folder: Path, policy: str) -> None:
    expected = said(on(torch.device("cpu"), folder, POLICIES[policy]), policy).text
    with Pretend() as counted:
        recorder = Recorder(counted)
        found = said(on(DEVICE, folder, POLICIES[policy], recorder), policy).text
    assert found == expected and recorder.played > 10


def test_a_step_that_waits_cannot_be_recorded(counted: Pretend) -> None:
    there = torch.ones(3).to(DEVICE)
    for waits in (there.sum().item, lambda: there + torch.ones(3).to(DEVICE)):
        with pytest.raises(CaptureError, match=r"^What is recorded waits for the device"):
            Recorder(counted)(waits)  # type: ignore[arg-type]


def test_what_is_played_back_sees_new_numbers_in_old_places(counted: Pretend) -> None:
    """And nothing that Python knew, as on a GPU."""
    there, sums, python = torch.ones(3).to(DEVICE), torch.zeros(3).to(DEVICE), [2.0]

    def step() -> None:
        sums.copy_(there.view(3)[:2].sum() * python[0] + there)

    play = Recorder(counted)(step)
    there.copy_(torch.full((3,), 5.0).to(DEVICE))
    python[0] = 100.0
    before = counted.launches
    play()
    assert counted.launches == before + 1
    assert sums.tolist() == [25.0, 25.0, 25.0]


def test_a_model_elsewhere_has_worked_before_its_first_stream(folder: Path, counted: Pretend) -> None:
    assert not elsewhere(on(torch.device("cpu"), folder, Options()))
    model = on(DEVICE, folder, Options())
    assert elsewhere(model)
    before = counted.launches
    warm(model)
    assert counted.launches - before > 1_000


def test_heads_of_any_size_suit_the_kernels_of_a_device(counted: Pretend) -> None:
    """They are filled up to a multiple of eight there, which changes nothing."""
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, 3, 36, generator=rng) for n in (4, 9, 9))
    mask = torch.rand(2, 9, generator=rng) > 0.3
    expected = BlockCausalEncoder.attend(q, k, v, mask)
    found = BlockCausalEncoder.attend(*(one.to(DEVICE) for one in (q, k, v, mask)))
    assert expected.shape == (2, 4, 108)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("capture", [None, Recorder()])
def test_streams_together(folder: Path, capture: Recorder | None) -> None:
    """Each stream has a thread, and modes of torch are those of a thread."""

    def translate(translator: object, gain: float) -> tuple[int, ...]:
        assert isinstance(translator, SpeechLLMTranslator)
        with Pretend():
            session = translator.open()
            session.extend_source((gain * AUDIO).astype(np.float32), is_final=True)
            return session.hypothesise([], Query(max_new=5))[0].ids

    with Pretend():
        model = on(DEVICE, folder, Options(), capture)
        alone = [translate(model, gain) for gain in (1.0, 0.5)]
        batcher = Batcher(model, streams=2)
        assert batcher.map(translate, (1.0, 0.5)) == alone
    assert batcher.stats.mean > 1


def test_eight_streams_wait_for_the_device_once_a_forward(folder: Path) -> None:
    """What was chosen for all of them comes in one copy, rows and log-probabilities included."""
    seen = list[Pretend]()

    def hear(translator: Translator, gain: float) -> TranslatorSession:
        with Pretend():
            session = translator.open()
            session.extend_source((gain * AUDIO).astype(np.float32))
        return session

    def decode(session: TranslatorSession, count: int) -> int:
        want = frozenset({Evidence.LOGPROBS, Evidence.ALIGNMENT})
        with Pretend() as counted:
            seen.append(counted)
            return len(session.hypothesise([], Query(max_new=count, want=want))[0].ids)

    with Pretend():
        batcher = Batcher(on(DEVICE, folder, Options(no_repeat_ngram=0), Recorder()), streams=8)
    sessions = batcher.map(hear, np.linspace(0.3, 1.0, 8).tolist())
    costs = []
    for count in (1, 11):
        seen.clear()
        before = batcher.stats.forwards
        assert batcher.map(lambda _, one, count=count: decode(one, count), sessions) == [count] * 8  # type: ignore[misc]
        costs.append((batcher.stats.forwards - before, sum(one.syncs for one in seen)))
    forwards, syncs = (b - a for a, b in zip(*costs, strict=True))
    assert forwards == 10
    assert syncs / forwards <= 1
