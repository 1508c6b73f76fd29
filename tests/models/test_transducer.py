"""A joint network beside the weights of a speech LLM, and the policy that follows it."""

import math
import random
import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.core.session import Session
from simulst.core.translator import Evidence, Transduce
from simulst.errors import ModelError, PolicyError
from simulst.models import load_model
from simulst.models.speech_llm.transduced import Ids, Next, after_frame
from simulst.models.speech_llm.transducer import TRANSDUCER_FILE, JointNetwork, load_joint, save_joint
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.policies import load_policy
from simulst.testing.speech_llm import make_tiny_speech_llm

pytestmark = pytest.mark.slow

WIDTH = 32
"""Of the test model's states and speech vectors."""
NOISE = (0.1 * np.random.default_rng(0).standard_normal(80_000)).astype(np.float32)
BLOCK = 10_752
"""Samples of an encoder block."""
GREEDY, BEAM = Transduce(), Transduce(beams=3)


def joint(*, blank: float = 0.0, scale: float = 4.0) -> JointNetwork:
    """Random numbers; `blank` is added to its logit, which otherwise goes up and down."""
    torch.manual_seed(3)
    network = JointNetwork(WIDTH, 16)
    torch.nn.init.normal_(network.blank.weight, std=scale)
    torch.nn.init.normal_(network.change.weight, std=0.3)
    torch.nn.init.constant_(network.blank.bias, blank)
    return network


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny", brevity=-9.0)


def with_joint(plain: Path, folder: Path, network: JointNetwork, **options: str) -> SpeechLLMTranslator:
    shutil.copytree(plain, folder)
    save_joint(network, folder / TRANSDUCER_FILE)
    model = load_model(folder, **options)
    assert isinstance(model, SpeechLLMTranslator)
    return model


@pytest.fixture(scope="module")
def model(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> SpeechLLMTranslator:
    return with_joint(plain, tmp_path_factory.mktemp("models") / "joined", joint())


def transduce(model: SpeechLLMTranslator, plan: Transduce, cuts: Sequence[int] = ()) -> list[tuple[int, ...]]:
    """What is written after each piece of the noise, cut at these samples, as a policy commits it."""
    session, written = model.open(), list[Ids]()
    committed: Ids = ()
    for begin, end in pairwise((0, *sorted(cuts), len(NOISE))):
        last = end == len(NOISE)
        session.extend_source(NOISE[begin:end], is_final=last)
        written.append(session.transduce(committed, plan, final=last).ids)
        committed += written[-1]
    return written


def test_a_model_provides_what_lies_in_its_folder(plain: Path, model: SpeechLLMTranslator) -> None:
    assert Evidence.TRANSDUCER in model.provides
    lacking = load_model(plain)
    assert Evidence.TRANSDUCER not in lacking.provides and lacking.open().transducer is None
    with pytest.raises(PolicyError, match="Policy transducer needs transducer, which model"):
        Session(lacking, load_policy("transducer"))


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, len(NOISE) - 1), max_size=6, unique=True))
@pytest.mark.parametrize("plan", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_how_audio_is_cut_changes_nothing(model: SpeechLLMTranslator, plan: Transduce, cuts: list[int]) -> None:
    (whole,) = transduce(model, plan)
    assert sum(transduce(model, plan, cuts), ()) == whole
    assert len(whole) > 5


def test_tokens_are_written_before_the_end_and_wait_for_their_blocks(model: SpeechLLMTranslator) -> None:
    written = transduce(model, GREEDY, range(BLOCK, len(NOISE), BLOCK))
    assert sum(bool(ids) for ids in written[:-1]) >= 2
    session = model.open()
    session.extend_source(NOISE[: BLOCK - 1])
    nothing = session.transduce((), GREEDY, want=frozenset({Evidence.ALIGNMENT}))
    assert nothing.ids == () and nothing.alignment is None


def toy_frame(frame: int) -> Callable[[Ids], Next]:
    """Two tokens, never more than three; probabilities depend on the frame and on what was written."""

    def following(ids: Ids) -> Next:
        if len(ids) == 3:
            return 0.0, []
        chance = random.Random(f"{frame}/{ids}")
        parts = [chance.random() + 0.05 for _ in range(3)]
        blank, first, second = (math.log(one / sum(parts)) for one in parts)
        return blank, [(7, first), (8, second)]

    return following


def by_hand(frames: int) -> dict[Ids, float]:
    """Log-probability of every sequence: the sum over all ways to write it."""
    totals: dict[Ids, float] = {}

    def walk(frame: int, ids: Ids, total: float) -> None:
        if frame == frames:
            totals[ids] = totals.get(ids, 0.0) + math.exp(total)
            return
        blank, tokens = toy_frame(frame)(ids)
        walk(frame + 1, ids, total + blank)
        for token, logprob in tokens:
            walk(frame, (*ids, token), total + logprob)

    walk(0, (), 0.0)
    return {ids: math.log(p) for ids, p in totals.items()}


def test_a_beam_without_limits_adds_up_all_ways() -> None:
    hypotheses: dict[Ids, float] = {(): 0.0}
    for frame in range(3):
        hypotheses = after_frame(hypotheses, toy_frame(frame), 100)
    expected = by_hand(3)
    most = max(expected.values())
    assert len(expected) == 15 and sum(map(math.exp, expected.values())) == pytest.approx(1)
    assert hypotheses == pytest.approx({ids: total - most for ids, total in expected.items()})


def test_a_narrow_beam_keeps_the_likeliest() -> None:
    hypotheses: dict[Ids, float] = {(): 0.0}
    for frame in range(3):
        hypotheses = after_frame(hypotheses, toy_frame(frame), 4)
    expected = by_hand(3)
    assert len(hypotheses) == 4 and max(hypotheses.values()) == 0.0
    assert max(hypotheses, key=lambda ids: hypotheses[ids]) == max(expected, key=lambda ids: expected[ids])


def test_blank_alone_writes_nothing_before_the_end(plain: Path, tmp_path: Path) -> None:
    texts = {}
    for name, blank in (("always", -50.0), ("never", 50.0)):
        model = with_joint(plain, tmp_path / name, joint(blank=blank))
        session = Session(model, load_policy("transducer"), chunk_ms=672)
        session.feed(NOISE)
        texts[name] = session.text
        session.finish()
        assert session.text
    assert texts["never"] == "" and texts["always"] != ""


def test_a_higher_threshold_writes_later(plain: Path, tmp_path: Path) -> None:
    model = with_joint(plain, tmp_path / "model", joint(scale=1.0))
    counts = []
    for threshold in (0.1, 0.5, 0.9):
        early = transduce(model, Transduce(threshold=threshold), range(BLOCK, len(NOISE), BLOCK))[:4]
        counts.append(sum(map(len, early)))
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]


@pytest.mark.parametrize("options", [{}, {"positions": "grouped"}, {"cache": "none"}], ids=str)
def test_every_way_of_caching_writes_the_same(plain: Path, tmp_path: Path, options: dict[str, str]) -> None:
    reference = transduce(with_joint(plain, tmp_path / "plain", joint()), GREEDY, [BLOCK, 3 * BLOCK])
    assert transduce(with_joint(plain, tmp_path / "other", joint(), **options), GREEDY, [BLOCK, 3 * BLOCK]) == reference


@pytest.mark.parametrize("beams", [1, 3])
def test_a_long_stream_keeps_a_bounded_state(model: SpeechLLMTranslator, beams: int) -> None:
    session = Session(model, load_policy("transducer", beams=beams), chunk_ms=2688)
    sizes = []
    for _ in range(12):
        session.feed(NOISE[:43_008])
        stream = session._translator._transduced  # type: ignore[attr-defined]
        sizes.append((len(stream.context.cache), len(session.prefix), max(map(len, stream.open))))
    late = len(session.text)
    session.feed(NOISE)
    session.finish()
    cached, forced, undecided = (max(column) for column in zip(*sizes, strict=True))
    assert cached <= 1 + 24.0 / model.frame_s and forced <= 160 and undecided <= 24
    assert session.stats.steps == 14 and 0 < late < len(session.text)


def test_files_that_do_not_fit_are_refused(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / TRANSDUCER_FILE
    save_joint(joint(), path)
    assert load_joint(path, width=32).hidden == 16
    with pytest.raises(ModelError, match="does not hold a joint network for this decoder: it is for states of width"):
        load_joint(path, width=48)
    save_joint(JointNetwork(WIDTH, 9000), path)
    with pytest.raises(ModelError, match="its hidden is not from 1 to 8192"):
        load_joint(path, width=32)
    path.write_bytes(path.read_bytes()[:100])
    folder = Path(shutil.copytree(plain, tmp_path / "broken"))
    shutil.copy(path, folder / TRANSDUCER_FILE)
    with pytest.raises(ModelError, match="does not hold a joint network for this decoder"):
        load_model(folder)
