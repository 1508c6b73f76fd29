"""History by turns: whole oldest turns, speech with what was written after it, go once the cache is full (2503.02969).

The system prompt stays (it is the attention sink), the newest turn too; nothing that stays is computed again when the
model is loaded with `cache=evict`.
"""

from collections.abc import Sequence
from itertools import accumulate

from simulst.core.commit import CommittedToken
from simulst.core.history import HistoryConfig, HistorySelector, Selector, Trim, cap_audio
from simulst.core.translator import Evidence, ReadWriteSession, TranslatorSession
from simulst.errors import PolicyError


def selector_of_stream(selector: Selector, session: TranslatorSession) -> Selector:
    """The selector of one stream: `turns` looks at what its session has cached, any other is shared by all streams.

    Raises PolicyError for `turns` on a session without any.
    """
    if isinstance(selector, HistorySelector) and selector.config.method == "turns":
        if session.reads_and_writes is None:
            raise PolicyError(
                "history.method = turns needs session_tokens, which the model lacks; use punctuation or fixed_words"
            )
        return TurnSelector(selector.config, session.reads_and_writes)
    return selector


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


def oldest_turns(checkpoints: Sequence[int], length: int, maximum: int) -> int | None:
    """The smallest checkpoint whose entries before it may go so that at most `maximum` are left after it.

    None when nothing has to go; the last checkpoint when even that does not suffice (the newest turn is never cut).
    """
    if length <= maximum or not checkpoints:
        return None
    return next((one for one in checkpoints if length - one <= maximum), checkpoints[-1])
