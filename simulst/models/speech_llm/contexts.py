"""How committed text and speech stand in the decoder's context, and one decoding run after them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from simulst.core.translator import FloatArray
from simulst.models.decoding import Step
from simulst.models.speech_llm.cache import Fed, StreamCache
from simulst.models.speech_llm.weights import Weights

if TYPE_CHECKING:
    from transformers import DynamicCache


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What attention rows a call wants."""

    wanted: bool
    every_head: bool
    p_choose: bool = False
    """Write probabilities, of a single sequence."""

    @property
    def queries(self) -> bool:
        """Whether the queries of a forward are looked at."""
        return self.wanted or self.p_choose


class SpeechRun:
    """One decoding run at the end of a stream's cache; implements `decoding.Run`.

    A single sequence grows in the cache itself, several (beams, samples) in a copy of it.
    """

    def __init__(
        self,
        weights: Weights,
        cache: StreamCache,
        *,
        source: tuple[int, int] | Tensor,
        rows: Rows,
        median_frames: int | None = None,
    ) -> None:
        self.weights, self.cache, self.source, self.rows = weights, cache, source, rows
        self.median_frames = weights.median_frames if median_frames is None else median_frames
        self.tokens: list[int] = []
        """Tokens that were fed to the cache after `start`, and their rows."""
        self._rows: list[Tensor] = []
        self._several: DynamicCache | None = None
        self._position = 0

    def start(self, embeds: Tensor, positions: Sequence[int], *, text: int) -> tuple[Step, FloatArray | None]:
        """Feed entries whose last `text` are the target mark and the prefix; the scores of the first new token, and
        the rows of those entries, the last of which predicts it."""
        fed = self.cache.extend(embeds, positions, record=self.rows.queries, score=True)
        rows = self._rows_of(fed, text)
        last = None if rows is None else rows[-1:]
        return self._known(fed, last), None if rows is None else rows.cpu().numpy()

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        if self._several is not None or len(tokens) > 1:
            return self._advance_several(tokens, parents)
        fed = self.cache.extend(self.weights.embed(tokens), record=self.rows.queries, score=True)
        return self._fed(fed, tokens)

    def advance_picking(self, token: int, pick: Callable[[Step], Tensor]) -> tuple[Step, FloatArray]:
        """`advance` of the only sequence, and the numbers that are picked of it."""

        def after(fed: Fed) -> tuple[Step, Tensor]:
            step = self._fed(fed, [token])
            return step, pick(step)

        return self.cache.extend_and(self.weights.embed([token]), after, record=self.rows.queries)

    def _fed(self, fed: Fed, tokens: Sequence[int]) -> Step:
        """What is known after the tokens that were fed to the cache."""
        rows = self._rows_of(fed, 1)
        self.tokens += tokens
        if rows is not None:
            self._rows.append(rows[0])
        return self._known(fed, rows)

    def _known(self, fed: Fed, rows: Tensor | None) -> Step:
        """What is known about the token that comes next; `rows` are those that predict it."""
        return Step(logits=self.scores(fed), weights=rows, p_choose=self._p_choose(fed))

    def token_rows(self) -> FloatArray:
        """Rows of the tokens that were fed, [tokens, (heads,) frames]."""
        found: FloatArray = torch.stack(self._rows).cpu().numpy() if self._rows else np.zeros((0, 0), dtype=np.float32)
        return found

    def scores(self, fed: Fed) -> Tensor:
        """Scores of the next token, [1, vocabulary]."""
        assert fed.logits is not None
        return self.scored(fed.logits)

    def scored(self, logits: Tensor) -> Tensor:
        """Scores of the next token as the search is to see them, [sequences, vocabulary]."""
        return logits

    def _p_choose(self, fed: Fed) -> Tensor | None:
        monotonic = self.weights.monotonic
        if not self.rows.p_choose or monotonic is None:
            return None
        end = self.source[1] if isinstance(self.source, tuple) else int(self.source[-1]) + 1
        return monotonic.least(fed.queries, self.cache, end)

    def _rows_of(self, fed: Fed, count: int) -> Tensor | None:
        """Rows of the last `count` entries, [count, frames] or [count, heads, frames]."""
        if not self.rows.wanted:
            return None
        queries = {layer: found[:, -count:] for layer, found in fed.queries.items()}
        with torch.inference_mode():
            keys = {layer: self.cache.layers[layer].keys for layer in queries}
            return self.attended(queries, keys, self.cache.positions[-count:])[0]

    def attended(self, queries: dict[int, Tensor], keys: dict[int, Tensor], positions: Sequence[int]) -> Tensor:
        """Rows of the newest entries, which stand at `positions`: [sequences, positions, (heads,) frames]."""
        return self.weights.attention.rows(
            queries,
            keys,
            positions,
            source=self.source,
            median_frames=self.median_frames,
            every_head=self.rows.every_head,
        )

    def _advance_several(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        weights = self.weights
        if self._several is None:
            self._several = self.cache.copy()
            self._position = self.cache.positions[-1]
        cache, device = self._several, weights.device
        self._position += 1
        self.cache.tally.positions += len(tokens)
        self.cache.tally.forwards += 1
        with torch.inference_mode(), weights.attention.recording() as queries:
            if list(parents) != list(range(cache.layers[0].keys.shape[0])):
                cache.reorder_cache(torch.tensor(parents, device=device))
            position = torch.tensor([self._position], device=device)
            hidden = weights.model.decoder.model(
                inputs_embeds=weights.embed(tokens)[:, None],
                position_ids=position[None],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            logits = self.scored(weights.model.output.scores(hidden))
            if not self.rows.wanted:
                return Step(logits=logits)
            keys = {layer: cache.layers[layer].keys for layer in queries}
            rows = self.attended(queries, keys, [self._position])
        return Step(logits=logits, weights=rows[:, 0])


class Context(Protocol):
    """Speech and text of one stream in the decoder's cache."""

    def begin(
        self, vectors: Tensor, first: int, prefix: Sequence[int], rows: Rows
    ) -> tuple[SpeechRun, Step, FloatArray | None]:
        """Bring the cache up to the kept vectors (the oldest is number `first` of the stream) and the forced prefix.

        Returns the run, the scores of the first new token and the rows of the prefix, [prefix, (heads,) frames].
        """
        ...

    def end(self, run: SpeechRun) -> None:
        """The run is over; what it fed may be kept."""
        ...

    def drop_source(self, count: int) -> None:
        """The oldest `count` kept vectors are gone."""
        ...

    def drop_target(self, count: int) -> None:
        """The oldest `count` ids of the prefix are gone."""
        ...


class BatchContext:
    """`<sp> v1 .. vk <de> y1 .. yn`, as in training: speech stays cached, text after it is fed anew at each call.

    A trim of the source closes the cache up (`cache=evict`) or empties it, so that the next call fills it anew.
    """

    def __init__(self, weights: Weights, cache: StreamCache) -> None:
        self.weights, self.cache = weights, cache
        self.heard = 0

    @property
    def _speech(self) -> int:
        return 1 + self.heard if len(self.cache) else 0

    def begin(
        self, vectors: Tensor, first: int, prefix: Sequence[int], rows: Rows, *, before: Sequence[int] = ()
    ) -> tuple[SpeechRun, Step, FloatArray | None]:
        """`before` are the ids between speech and prefix, by default the target mark."""
        weights, cache = self.weights, self.cache
        if cache.forgets:
            cache.crop(0)
        self.heard = 0 if cache.forgets else min(self.heard, len(vectors))
        cache.crop(self._speech)
        lead = [] if len(cache) else [weights.speech_mark]
        text = weights.embed([*(before or [weights.target_mark]), *prefix])
        embeds = torch.cat((weights.embed(lead), vectors[self.heard :], text))
        self.heard = len(vectors)
        run = self._run(rows)
        step, found = run.start(embeds, range(len(cache), len(cache) + len(embeds)), text=1 + len(prefix))
        return run, step, None if found is None else found[:-1]

    def _run(self, rows: Rows) -> SpeechRun:
        return SpeechRun(self.weights, self.cache, source=(1, 1 + self.heard), rows=rows)

    def end(self, run: SpeechRun) -> None:
        self.cache.crop(self._speech)

    def drop_source(self, count: int) -> None:
        gone = min(count, self.heard)
        if self.weights.evicts and len(self.cache):
            self.cache.keep([0, *range(1 + gone, self._speech)])
            self.heard -= gone
        else:
            self.cache.crop(0)
            self.heard = 0

    def drop_target(self, count: int) -> None:
        """Text is not kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredRow:
    """The row of a token as it was when the token after it was predicted: [heads, frames] from vector `first` on."""

    first: int
    weights: FloatArray

    def over(self, first: int, count: int) -> FloatArray:
        """The row over the vectors [first, first + count): zeros where its peak is forgotten, and at newer ones."""
        placed = np.zeros((len(self.weights), count), dtype=np.float32)
        gone = first - self.first
        if self.weights.shape[1] and gone <= int(self.weights.mean(axis=0).argmax()):
            part = self.weights[:, max(0, gone) : gone + count]
            start = max(0, -gone)
            placed[:, start : start + part.shape[1]] = part
        return placed
