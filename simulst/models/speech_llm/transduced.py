"""One stream on a transducer: every block of speech vectors is looked at once, however the audio was cut."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from simulst.core.prefix import common_prefix
from simulst.core.translator import TOKENS_PER_SECOND, FloatArray, TokenStep, Transduce, Verdict
from simulst.errors import ModelError
from simulst.models.decoding import Rules, Step, greedy
from simulst.models.search import RECENT_IDS
from simulst.models.speech_llm.cache import Fed, StreamCache
from simulst.models.speech_llm.contexts import BatchContext, Rows, SpeechRun
from simulst.models.speech_llm.transducer import JointNetwork
from simulst.models.speech_llm.weights import Weights

SPARE_TOKENS = 20
MOST_OPEN = 24
"""Tokens on which hypotheses may disagree; beyond that the best one is followed."""
NOTHING = Rows(wanted=False, every_head=False)

Ids = tuple[int, ...]
Next = tuple[float, Sequence[tuple[int, float]]]
"""Log-probability of blank after a hypothesis, and the likeliest tokens with theirs."""


class TransducerRun(SpeechRun):
    """Decoding after one block: scores of the tokens after the joint network, and the probability of any of them."""

    def __init__(self, context: "TransducerContext", speech: Tensor) -> None:
        super().__init__(context.weights, context.cache, source=(1, 1 + context.heard), rows=NOTHING)
        self.joint, self.speech = context.joint, speech

    def _known(self, fed: Fed, rows: Tensor | None) -> Step:
        with torch.inference_mode():
            blank, states = self.joint(self.speech.float(), fed.hidden[-1:].float())
            logits = self.weights.model.output.scores(states.to(fed.hidden.dtype))
        return Step(logits=logits, weights=rows, p_choose=torch.sigmoid(-blank[0]))


class TransducerContext(BatchContext):
    """Speech and text as in training, and the block that is decided about."""

    def __init__(self, weights: Weights, cache: StreamCache, joint: JointNetwork) -> None:
        super().__init__(weights, cache)
        self.joint = joint
        self.speech: Tensor | None = None
        """The block's mean speech vector; None: the decoder alone is asked."""

    def _run(self, rows: Rows) -> SpeechRun:
        return super()._run(rows) if self.speech is None else TransducerRun(self, self.speech)


@dataclass(frozen=True, kw_only=True)
class Blank:
    """A gate that ends the tokens of a block where blank is likelier."""

    threshold: float

    def __call__(self, step: TokenStep) -> Verdict:
        return "stop_drop" if step.p_choose is not None and step.p_choose < self.threshold else "continue"


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """The kept vectors up to the end of a block, of which the oldest is number `first`, and what is forced."""

    vectors: Tensor
    first: int
    prefix: Ids


class TransducerStream:
    """Where one stream stands; raises ModelError for a model without a joint network."""

    def __init__(self, weights: Weights, cache: StreamCache) -> None:
        if weights.transducer is None:
            raise ModelError("The model has no joint network; train one by a recipe with a table [transducer].")
        self.weights, self.context = weights, TransducerContext(weights, cache, weights.transducer)
        self.next = 0
        """Number of the first vector that was not looked at."""
        self.known: Ids = ()
        """The prefix that the next call is expected to force."""
        self.open: dict[Ids, float] = {(): 0.0}
        """What hypotheses say after it, each with its log-probability against the best."""

    def advance(self, vectors: Tensor, first: int, prefix: Ids, plan: Transduce, *, final: bool) -> Ids | None:
        """Tokens that are written for good after `prefix`; None where no block was new.

        `vectors` are those that are kept; with `final` the last block may be shorter than the others.
        """
        if prefix != self.known:
            self.known, self.open = prefix, {(): 0.0}
        end, size, begun = first + len(vectors), self.weights.block_vectors, self.next
        self.next = max(self.next, first)
        while self.next + size <= end or (final and self.next < end):
            until = min(self.next + size, end)
            self.context.speech = vectors[self.next - first : until - first].mean(dim=0)
            self._decide(Block(vectors=vectors[: until - first], first=first, prefix=prefix), plan)
            self.next = until
        self.context.speech = None
        if final:
            self._finish(Block(vectors=vectors, first=first, prefix=prefix), plan)
        elif self.next == begun:
            return None
        return self._settled(prefix)

    def rows(self, vectors: Tensor, first: int, ids: Ids, rows: Rows) -> FloatArray:
        """Attention of the tokens over the kept vectors, [tokens, (heads,) vectors]."""
        run, _, found = self.context.begin(vectors, first, ids, rows)
        self.context.end(run)
        assert found is not None
        return found

    def drop_source(self, count: int) -> None:
        self.context.drop_source(count)

    def drop_target(self, count: int) -> None:
        self.known = self.known[count:]

    @property
    def _best(self) -> Ids:
        return max(self.open, key=lambda one: self.open[one])

    def _decide(self, block: Block, plan: Transduce) -> None:
        """Follow the hypotheses through a block."""
        if plan.beams > 1:
            self.open = after_frame(self.open, lambda ids: self._next_tokens(block, ids, plan), plan.beams)
            return
        ids = self._best
        run, step, _ = self.context.begin(block.vectors, block.first, (*block.prefix, *ids), NOTHING)
        found = greedy(run, step, self._rules(block, ids, plan), gate=Blank(threshold=plan.threshold))
        self.context.end(run)
        self.open = {(*ids, *found.ids): 0.0}

    def _rules(self, block: Block, ids: Ids, plan: Transduce) -> Rules:
        weights, text = self.weights, (*block.prefix, *ids)
        most = int(TOKENS_PER_SECOND * len(block.vectors) * weights.frame_s) + SPARE_TOKENS - len(text)
        return Rules(
            eos=weights.vocabulary.eos,
            max_new=max(0, most),
            suppress=weights.suppress_in_labels,
            no_repeat_ngram=weights.options.no_repeat_ngram,
            recent=text[-RECENT_IDS:],
            favoured=plan.favoured,
        )

    def _next_tokens(self, block: Block, ids: Ids, plan: Transduce) -> Next:
        rules = self._rules(block, ids, plan)
        run, step, _ = self.context.begin(block.vectors, block.first, (*block.prefix, *ids), NOTHING)
        self.context.end(run)
        if not rules.max_new or step.p_choose is None:
            return 0.0, []
        write = torch.logit(step.p_choose.double(), eps=1e-9) - math.log(plan.threshold / (1 - plan.threshold))
        found = rules.log_probs(step.logits[:1], [()])[0].topk(plan.beams)
        any_token = float(torch.nn.functional.logsigmoid(write))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        likely = [(token, any_token + logprob) for token, logprob in pairs if logprob > -math.inf]
        return float(torch.nn.functional.logsigmoid(-write)), likely

    def _finish(self, block: Block, plan: Transduce) -> None:
        """The best hypothesis, and what the decoder says after it until its end: nothing is heard later."""
        ids = self._best
        if len(block.vectors):
            rules = replace(self._rules(block, ids, plan), suppress=self.weights.suppress)
            run, step, _ = self.context.begin(block.vectors, block.first, (*block.prefix, *ids), NOTHING)
            ids = (*ids, *greedy(run, step, rules).ids)
            self.context.end(run)
        self.open = {ids: 0.0}

    def _settled(self, prefix: Ids) -> Ids:
        """What all hypotheses begin with; the rest stays open."""
        if max(map(len, self.open)) > MOST_OPEN:
            self.open = {self._best: 0.0}
        count = common_prefix(*self.open)
        settled = next(iter(self.open))[:count]
        self.open = {ids[count:]: total for ids, total in self.open.items()}
        self.known = (*prefix, *settled)
        return settled


def after_frame(hypotheses: Mapping[Ids, float], following: Callable[[Ids], Next], beams: int) -> dict[Ids, float]:
    """The likeliest hypotheses after a frame, with log-probabilities against the best, over all ways to write them."""
    done, active = dict[Ids, float](), dict(hypotheses)
    while active:
        grown = dict[Ids, float]()
        for ids, total in active.items():
            blank, tokens = following(ids)
            _add(done, ids, total + blank)
            for token, logprob in tokens:
                _add(grown, (*ids, token), total + logprob)
        best = sorted(done.values(), reverse=True)[:beams]
        floor = best[-1] if len(best) == beams else -math.inf
        active = {ids: total for ids, total in _likeliest(grown, beams).items() if total > floor}
    kept = _likeliest(done, beams)
    most = max(kept.values())
    return {ids: total - most for ids, total in kept.items()}


def _add(totals: dict[Ids, float], ids: Ids, total: float) -> None:
    """Another way to write a hypothesis."""
    before = totals.get(ids, -math.inf)
    high, low = max(before, total), min(before, total)
    totals[ids] = high + math.log1p(math.exp(low - high)) if low > -math.inf else high


def _likeliest(totals: dict[Ids, float], count: int) -> dict[Ids, float]:
    chosen: Sequence[Ids] = sorted(totals, key=lambda ids: -totals[ids])[:count]
    return {ids: totals[ids] for ids in chosen}
