"""Write probabilities beside the weights of a speech LLM, and the policy that reads them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.query import Query, TokenStep, Verdict
from simulst.core.session import Session
from simulst.core.translator import Evidence
from simulst.errors import ModelError, PolicyError
from simulst.models import load_model
from simulst.models.speech_llm.monotonic import MONOTONIC_FILE, MonotonicHeads, load_heads, save_heads
from simulst.policies import load_policy
from simulst.testing.speech_llm import make_tiny_speech_llm

WIDTHS = (32, 16)
"""Of the test model's queries (4 heads of 8) and values (2 of 8)."""
WANT = frozenset({Evidence.PREFIX, Evidence.P_CHOOSE})
NOISE = (0.1 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32)


def heads_of(*, bias: float | None = None) -> MonotonicHeads:
    torch.manual_seed(0)
    heads = MonotonicHeads((1, 2), widths=WIDTHS, heads=2, size=4, hidden=8)
    if bias is not None:
        torch.nn.init.constant_(heads.bias, bias)
    return heads


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


def with_heads(plain: Path, folder: Path, *, bias: float | None = None) -> Path:
    shutil.copytree(plain, folder)
    save_heads(heads_of(bias=bias), folder / MONOTONIC_FILE)
    return folder


class Watching:
    """A gate that keeps what it sees and lets three tokens pass."""

    def __init__(self) -> None:
        self.seen: list[TokenStep] = []

    def __call__(self, step: TokenStep) -> Verdict:
        self.seen.append(step)
        return "continue" if step.index < 3 else "stop_drop"


def test_a_model_provides_what_lies_in_its_folder(plain: Path, tmp_path: Path) -> None:
    assert Evidence.P_CHOOSE not in load_model(plain).provides
    assert Evidence.P_CHOOSE in load_model(with_heads(plain, tmp_path / "model")).provides
    with pytest.raises(PolicyError, match="Policy emma needs p_choose"):
        Session(load_model(plain), load_policy("emma"))


@pytest.mark.parametrize("positions", ["batch", "grouped"])
def test_a_gate_sees_the_least_probability_of_all_heads(plain: Path, tmp_path: Path, positions: str) -> None:
    model = load_model(with_heads(plain, tmp_path / "model"), positions=positions, beams=3)
    session, gate = model.open(), Watching()
    session.extend_source(NOISE, is_final=True)
    found = session.hypothesise((), Query(gate=gate, want=WANT))[0]
    assert found.stop == "gate" and len(found.ids) == 3
    probabilities = [step.p_choose for step in gate.seen]
    assert all(p is not None and 0 < p < 1 for p in probabilities) and len(set(probabilities)) == 4
    session.hypothesise((), Query(gate=(silent := Watching()), want=frozenset({Evidence.PREFIX})))
    assert {step.p_choose for step in silent.seen} <= {None}


def test_the_least_of_all_heads(plain: Path) -> None:
    heads = heads_of().eval()
    queries, values = torch.randn(5, 2, 32), torch.randn(5, 2, 16)
    together = heads(queries, values)
    assert together.shape == (5, 4)  # two layers, two heads each
    energy = (heads.query[1](queries[0, 1])[:4] * heads.source[1](values[0, 1])[:4]).sum() / 2  # of layer 2, head 0
    assert together[0, 2].item() == pytest.approx(torch.sigmoid((energy - 0.5) / 0.2).item(), rel=1e-4)


def test_emma_writes_what_the_heads_let_pass(plain: Path, tmp_path: Path) -> None:
    texts = {}
    for name, bias in (("always", 50.0), ("never", -50.0)):
        model = load_model(with_heads(plain, tmp_path / name, bias=bias))
        session = Session(model, load_policy("emma", min_start_s=0.0, block_ngrams=False))
        session.feed(NOISE)
        texts[name] = session.text
        session.finish()
        assert session.text
    assert texts["never"] == "" and texts["always"] != ""


def test_files_that_do_not_fit_are_refused(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / MONOTONIC_FILE
    save_heads(heads_of(), path)
    assert load_heads(path, layers=3, query_width=32, value_width=16).at == (1, 2)
    for sizes, reason in (
        ((2, 32, 16), r"its layers are not numbers below 2"),
        ((3, 32, 32), r"it is for queries and values of width \[32, 16\], not \[32, 32\]"),
    ):
        with pytest.raises(ModelError, match=f"does not hold write probabilities for this decoder: {reason}"):
            load_heads(path, layers=sizes[0], query_width=sizes[1], value_width=sizes[2])
    path.write_bytes(path.read_bytes()[:100])
    folder = Path(shutil.copytree(plain, tmp_path / "broken"))
    shutil.copy(path, folder / MONOTONIC_FILE)
    with pytest.raises(ModelError, match="does not hold write probabilities for this decoder"):
        load_model(folder)
