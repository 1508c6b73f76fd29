"""EDAtt: commit up to the first token that spends too much attention on the newest frames (2212.07850)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from simulst.core.alignment import model_frames
from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, FloatArray, TokenStep, Verdict


@dataclass(frozen=True, kw_only=True)
class EDAtt(Policy):
    """Emit a token when its attention over the last `last` frames, the very last one left out, sums to less than alpha.

    Rows are normalised to Euclidean length 1 first, as the published alphas assume.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.ALIGNMENT})
    paper: ClassVar[str] = "Papi et al. 2023 (2212.07850)"

    alpha: float = setting(
        0.2, "attention from which a token is held back", above=0, published="0.6, 0.4, 0.2, 0.1, 0.05, 0.03"
    )
    last: int = setting(2, "newest frames that are looked at (lambda)", unit="frames", at_least=1, published="2")
    frame_ms: float | None = setting(
        None, "length of the frames that last counts; none: the model's own", unit="ms", above=0, published="40"
    )
    normalise: Literal["l2", "l1"] = setting("l2", "norm that rows are divided by", published="l2")
    drop_last: int = setting(
        1, "frames at the very end that are left out as a sink", unit="frames", at_least=0, published="1"
    )

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        gate = NewestFramesGate(policy=self, frame_s=decoder.frame_s)
        hypothesis = decoder.hypothesise(gate=gate, post_hoc=True, want=self.requires)[0]
        alignment = hypothesis.alignment
        if not hypothesis.ids or alignment is None:
            return Decision(hypothesis=hypothesis, reason="read")
        masses = [
            self.mass(row[: alignment.n_valid], alignment.frame_s) for row in alignment.weights[alignment.history :]
        ]
        cut = next((i for i, mass in enumerate(masses) if mass >= self.alpha), len(masses))
        keep = complete(hypothesis, cut, decoder.vocabulary)
        return Decision(
            commit=keep, hypothesis=hypothesis, reason="attention" if keep else "read", diagnostics={"masses": masses}
        )

    def mass(self, row: FloatArray, frame_s: float) -> float:
        """Normalised attention of one row, valid frames only, on its newest frames."""
        row = row[: max(0, len(row) - self.drop_last)]
        if not len(row):
            return float("inf")
        norm = float(np.linalg.norm(row, ord=2 if self.normalise == "l2" else 1))
        frames = model_frames(self.last, self.frame_ms, frame_s)
        return float(row[-frames:].sum()) / norm if norm else 0.0


@dataclass(frozen=True, kw_only=True)
class NewestFramesGate:
    """Ends decoding at the first token that looks at the newest frames too much."""

    policy: EDAtt
    frame_s: float

    def __call__(self, step: TokenStep) -> Verdict:
        if step.weights is None:
            return "continue"
        beyond = self.policy.mass(step.weights[: step.n_valid], self.frame_s) >= self.policy.alpha
        return "stop_drop" if beyond else "continue"
