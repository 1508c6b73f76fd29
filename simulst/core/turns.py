"""History by turns: whole oldest turns, speech with what was written after it, go once the cache is full (2503.02969).

The system prompt stays (it is the attention sink), the newest turn too; nothing that stays is computed again when the
model is loaded with `cache=evict`.

`sinks` is StreamingLLM's rule (2309.17453) on the same streams: the prompt, the first entries after it and the newest
ones stay. A turn may be cut, a word of text not.

`heads` forgets whole turns too, and the streaming heads of the model see nothing but the prompt, the first entries
after it and the newest ones (DuoAttention, 2410.10819).
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

from simulst.core.commit import CommittedToken
from simulst.core.history import CACHE_METHODS, HistoryConfig, HistorySelector, Selector, Trim, cap_audio
from simulst.core.translator import Evidence, ReadWriteSession, TranslatorSession, Turn
from simulst.errors import PolicyError


def selector_of_stream(selector: Selector, session: TranslatorSession) -> Selector:
    """The selector of one stream: some look at what its session has cached, all others are shared by all streams.

    Raises PolicyError for those on a session without turns.
    """
    if not isinstance(selector, HistorySelector) or selector.config.method not in CACHE_METHODS:
        return selector
    method, able = selector.config.method, session.reads_and_writes
    if able is None:
        raise PolicyError(
            f"history.method = {method} needs session_tokens, which the model lacks; use punctuation or fixed_words"
        )
    return SELECTORS[method](selector.config, able)


class TurnSelector:
    """Asks the session of one stream for its turns; implements `simulst.core.history.Selector`."""

    def __init__(self, config: HistoryConfig, session: ReadWriteSession) -> None:
        self.config, self.session = config, session
        self.wants: frozenset[Evidence] = frozenset()
        self.max_audio_s = config.max_audio_s

    def select(self, kept: Sequence[CommittedToken], *, start_s: float, segment_end: bool = False) -> Trim:
        """Nothing while there is room, else the oldest turns up to the checkpoint from which on the rest fits."""
        turns, newest = self.session.turns()
        checkpoints = list(accumulate(turn.entries for turn in turns))
        length = newest + (checkpoints[-1] if checkpoints else 0)
        cut = oldest_turns(checkpoints, length, self.config.max_entries)
        if cut is None:
            return Trim()
        gone = checkpoints.index(cut) + 1
        return Trim(tokens=sum(turn.tokens for turn in turns[:gone]), to_s=turns[gone - 1].end_s)

    def make_room(self, kept: Sequence[CommittedToken], *, start_s: float, need_s: float) -> Trim | None:
        """Under the source cap too whole turns go, speech with its text; words only where one turn exceeds it."""
        turns, _ = self.session.turns()
        gone = next((i + 1 for i, turn in enumerate(turns) if turn.end_s >= need_s), 0)
        if not gone:
            return cap_audio(kept, start_s=start_s, need_s=need_s)
        return Trim(tokens=sum(turn.tokens for turn in turns[:gone]), to_s=turns[gone - 1].end_s)


class SinkSelector(TurnSelector):
    """The same with the oldest entries instead of whole turns; the first ones stay as attention sinks."""

    def __init__(self, config: HistoryConfig, session: ReadWriteSession) -> None:
        super().__init__(config, session)
        self.session.keep_first(config.sinks)

    def select(self, kept: Sequence[CommittedToken], *, start_s: float, segment_end: bool = False) -> Trim:
        turns, newest = self.session.turns()
        excess = newest + sum(turn.entries for turn in turns) - self.config.max_entries
        return oldest_entries(turns, excess, [token.starts_word for token in kept])


class HeadSelector(TurnSelector):
    """Whole turns, with less for the streaming heads."""

    def __init__(self, config: HistoryConfig, session: ReadWriteSession) -> None:
        super().__init__(config, session)
        self.session.keep_first(config.sinks, config.recent)


SELECTORS: dict[str, Callable[[HistoryConfig, ReadWriteSession], TurnSelector]] = {
    "turns": TurnSelector,
    "sinks": SinkSelector,
    "heads": HeadSelector,
}
"""One for each of `CACHE_METHODS`."""

MARKS = 2
"""Entries of a turn that are neither source nor text."""


def oldest_entries(turns: Sequence[Turn], excess: int, starts_word: Sequence[bool]) -> Trim:
    """What goes so that `excess` entries fewer are left, the oldest first; of text whole words, maybe one more.

    Source goes before the text of its turn, as it stands in the cache.
    """
    tokens, to_s = 0, None
    for turn in turns:
        if excess <= 0:
            break
        vectors = turn.entries - turn.tokens - MARKS
        if excess >= turn.entries - 1 or turn.vector_s <= 0:
            tokens, to_s = tokens + turn.tokens, turn.end_s
        else:
            gone = min(excess, max(0, vectors))
            to_s = turn.end_s - (vectors - gone) * turn.vector_s
            tokens += _words_of(starts_word[tokens : tokens + turn.tokens], excess - gone - 1)
        excess -= turn.entries
    return Trim(tokens=tokens, to_s=to_s)


def _words_of(starts_word: Sequence[bool], least: int) -> int:
    """The smallest number of tokens from `least` on, none below 1, after which a word begins; else all."""
    if least < 1:
        return 0
    return next((i for i in range(least, len(starts_word)) if starts_word[i]), len(starts_word))


def oldest_turns(checkpoints: Sequence[int], length: int, maximum: int) -> int | None:
    """The smallest checkpoint whose entries before it may go so that at most `maximum` are left after it.

    None when nothing has to go; the last checkpoint when even that does not suffice (the newest turn is never cut).
    """
    if length <= maximum or not checkpoints:
        return None
    return next((one for one in checkpoints if length - one <= maximum), checkpoints[-1])
