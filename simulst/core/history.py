"""History selection: which committed ids and which audio a session may forget, asked after every decision.

It is orthogonal to the policy: StreamAtt is AlignAtt with the selection of its paper (2406.06097), and any other policy
runs on hours of speech with the same selection. A method says how much text to keep, an audio rule where to cut the
source; caps on both always hold. Only whole words go.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

from simulst.core.commit import CommittedToken
from simulst.core.sentences import CLOSERS, STRONG_MARKS, ends_sentence
from simulst.core.settings import check, setting
from simulst.core.translator import Evidence
from simulst.errors import PolicyError

SENTENCE_TAIL = 12
"""Tokens before a mark that tell whether it ends a sentence."""
WORDS_OF_NO_SENTENCE = 4
"""Words that stay of an endless sentence; a model that goes on from more of it goes on without marks too."""
AUDIO_MARGIN_S = 0.5
"""Audio is never cut later than this before the source of the last committed token."""

_NOT_OPENING = CLOSERS + "".join(STRONG_MARKS) + " "

METHOD_NAMES = (
    "auto",
    "keep_all",
    "fixed_words",
    "fixed_tokens",
    "punctuation",
    "segment_reset",
    "turns",
    "sinks",
    "heads",
)
"""`auto` and the keys of METHODS."""
CACHE_METHODS = ("turns", "sinks", "heads")
"""Those that look at what a read/write stream has cached."""
AudioRule = Literal["auto", "attention", "proportional", "fixed"]


@dataclass(frozen=True, kw_only=True)
class HistoryConfig:
    """The `[history]` table of a preset."""

    method: str = setting(
        "auto",
        "what text is kept: all, the last words or tokens, what follows the last sentence end, nothing after a "
        "segment, whole newest turns, first and newest entries of the cache (sinks), whole newest turns with only the "
        "first and newest entries for streaming heads (heads); auto: punctuation where the model aligns, else "
        "fixed_words",
        choices=METHOD_NAMES,
        published="fixed_words, punctuation",
    )
    audio: AudioRule = setting(
        "auto",
        "where audio is cut when text was dropped: before the earliest frame that kept text attends to (attention), in "
        "proportion to the dropped words, or ms_per_word for each of them (fixed); auto: attention where the model "
        "aligns, else proportional",
        published="attention",
    )
    words: int = setting(20, "words that fixed_words keeps", unit="words", at_least=1, published="20")
    max_sentence_words: int = setting(
        40,
        "words without a sentence end after which punctuation keeps only the last four",
        unit="words",
        at_least=1,
    )
    tokens: int = setting(40, "tokens that fixed_tokens keeps", unit="tokens", at_least=1)
    ms_per_word: int = setting(280, "audio that one dropped word takes with it under fixed", unit="ms", at_least=1)
    max_tokens: int = setting(128, "limit of the text that is kept", unit="tokens", at_least=1)
    max_audio_s: float | None = setting(
        None, "limit of the audio that is kept; the model's own limit applies too", unit="s", above=0
    )
    max_entries: int = setting(
        320,
        "cache entries (speech vectors, tokens, marks) above which turns and heads forget whole oldest turns and sinks "
        "the oldest entries",
        unit="entries",
        at_least=1,
    )
    sinks: int = setting(
        4,
        "first entries after the prompt that sinks and heads keep for good",
        unit="entries",
        at_least=0,
        published="4",
    )
    recent: int = setting(
        64, "newest entries that streaming heads see under heads", unit="entries", at_least=1, published="64"
    )
    segment_s: float | None = setting(
        None,
        "speech after which a pause ends a segment: all of it is translated, then text and audio are forgotten; none: "
        "no segments",
        unit="s",
        above=0,
    )
    pause_s: float = setting(0.5, "silence that counts as such a pause", unit="s", above=0)

    def __post_init__(self) -> None:
        check(self, "", PolicyError, label="history.{key}")

    def resolve(self, provides: frozenset[Evidence]) -> "HistoryConfig":
        """This configuration, with `auto` replaced by what fits a model."""
        aligns = Evidence.ALIGNMENT in provides
        method = ("punctuation" if aligns else "fixed_words") if self.method == "auto" else self.method
        if method in CACHE_METHODS and Evidence.SESSION_TOKENS not in provides:
            raise PolicyError(
                f"history.method = {method} needs session_tokens, which the model lacks; use punctuation or fixed_words"
            )
        audio = ("attention" if aligns else "proportional") if self.audio == "auto" else self.audio
        if audio == "attention" and not aligns:
            raise PolicyError(
                "history.audio = attention needs alignment, which the model lacks; use proportional or fixed"
            )
        return replace(self, method=method, audio=audio)


@dataclass(frozen=True, kw_only=True)
class Trim:
    """What to forget: the oldest `tokens` kept ids, and audio before the absolute time `to_s` (None: no audio)."""

    tokens: int = 0
    to_s: float | None = None


Method = Callable[[Sequence[CommittedToken], HistoryConfig, bool], int]


def keep_all(kept: Sequence[CommittedToken], config: HistoryConfig, segment_end: bool) -> int:
    return 0


def fixed_words(kept: Sequence[CommittedToken], config: HistoryConfig, segment_end: bool) -> int:
    """Keep the last `words` words; all when there are fewer."""
    starts = [i for i, token in enumerate(kept) if token.starts_word]
    return starts[-config.words] if len(starts) >= config.words else 0


def fixed_tokens(kept: Sequence[CommittedToken], config: HistoryConfig, segment_end: bool) -> int:
    """Keep the last `tokens` tokens, fewer where that would cut a word."""
    return _word_start_at_or_after(kept, len(kept) - config.tokens) if len(kept) > config.tokens else 0


def punctuation(kept: Sequence[CommittedToken], config: HistoryConfig, segment_end: bool) -> int:
    """Keep what follows the last strong mark that ends a sentence; all when nothing follows it yet.

    A model may stop writing marks (recognisers do, after a cut), and nothing would ever go: after
    `max_sentence_words` without one only `WORDS_OF_NO_SENTENCE` stay.
    """
    for i in range(len(kept) - 1, 0, -1):
        opens = kept[i].starts_word and kept[i].text.strip(_NOT_OPENING)
        before = [token.text for token in kept[max(0, i - SENTENCE_TAIL) : i]]
        if opens and ends_sentence(before, _word_at(kept, i)):
            return i
    words = sum(token.starts_word for token in kept)
    if words < config.max_sentence_words:
        return 0
    return fixed_words(kept, replace(config, words=WORDS_OF_NO_SENTENCE), segment_end)


def _word_at(kept: Sequence[CommittedToken], index: int) -> str:
    """The text of the word that begins at `index`."""
    end = next((i for i in range(index + 1, len(kept)) if kept[i].starts_word), len(kept))
    return "".join(token.text for token in kept[index:end])


def segment_reset(kept: Sequence[CommittedToken], config: HistoryConfig, segment_end: bool) -> int:
    """Keep nothing once a policy has ended a segment, everything until then."""
    return len(kept) if segment_end else 0


def turns(kept: Sequence[CommittedToken], config: HistoryConfig, segment_end: bool) -> int:
    """What is oldest once the cache is full: `simulst.core.turns`, which sees the cache, decides."""
    return 0


METHODS: dict[str, Method] = {
    "keep_all": keep_all,
    "fixed_words": fixed_words,
    "fixed_tokens": fixed_tokens,
    "punctuation": punctuation,
    "segment_reset": segment_reset,
    "turns": turns,
    "sinks": turns,
    "heads": turns,
}


def _word_start_at_or_after(kept: Sequence[CommittedToken], index: int) -> int:
    """The first word start from `index` on; without one `index` itself (one endless word)."""
    return next((i for i in range(max(0, index), len(kept)) if kept[i].starts_word), max(0, index))


@runtime_checkable
class Selector(Protocol):
    """What a session asks after every decision; `HistorySelector` is the one that presets configure."""

    wants: frozenset[Evidence]
    """Evidence that it needs of every hypothesis."""
    max_audio_s: float | None

    def select(self, kept: Sequence[CommittedToken], *, start_s: float, segment_end: bool = False) -> Trim: ...

    def make_room(self, kept: Sequence[CommittedToken], *, start_s: float, need_s: float) -> Trim | None:
        """What goes so that audio before `need_s` may go; None where speech would be lost that nothing covers."""
        ...


class HistorySelector:
    """Applies a resolved `HistoryConfig`; stateless, shared by any number of sessions."""

    def __init__(self, config: HistoryConfig) -> None:
        self.config = config
        self.max_audio_s = config.max_audio_s
        attends = config.audio == "attention" and config.method not in CACHE_METHODS
        self.wants: frozenset[Evidence] = frozenset({Evidence.ALIGNMENT} if attends else ())

    def select(self, kept: Sequence[CommittedToken], *, start_s: float, segment_end: bool = False) -> Trim:
        """What may go after a decision; `start_s` is the absolute time of the oldest kept audio."""
        drop = METHODS[self.config.method](kept, self.config, segment_end)
        if len(kept) - drop > self.config.max_tokens:
            drop = _word_start_at_or_after(kept, len(kept) - self.config.max_tokens)
        return Trim(tokens=drop, to_s=self._cut(kept, drop, start_s) if drop else None)

    def make_room(self, kept: Sequence[CommittedToken], *, start_s: float, need_s: float) -> Trim | None:
        """Under the source cap: whole words, see `cap_audio`."""
        return cap_audio(kept, start_s=start_s, need_s=need_s)

    def _cut(self, kept: Sequence[CommittedToken], drop: int, start_s: float) -> float | None:
        rest = kept[drop:]
        if not rest:
            return None if self.config.method != "segment_reset" else kept[-1].heard_s
        known = [token.anchor_s for token in rest if token.anchor_s is not None]
        if self.config.audio == "attention" and known:
            return min(min(known), known[-1] - AUDIO_MARGIN_S)
        words = sum(token.starts_word for token in kept[:drop])
        covered = rest[-1].heard_s
        if self.config.audio == "fixed":
            cut = start_s + words * self.config.ms_per_word / 1000
        else:
            cut = start_s + (covered - start_s) * words / max(1, sum(token.starts_word for token in kept))
        return min(cut, covered - AUDIO_MARGIN_S)


def cap_audio(kept: Sequence[CommittedToken], *, start_s: float, need_s: float) -> Trim | None:
    """What goes when audio before `need_s` must go: the whole words that lie there.

    None when audio would be lost that nothing committed covers: then the policy has to be forced on.
    """
    if not kept:
        return None
    last = kept[-1].anchor_s if kept[-1].anchor_s is not None else kept[-1].heard_s
    if last - AUDIO_MARGIN_S < need_s:
        return None
    starts = [i for i, token in enumerate(kept) if token.starts_word] or [0]
    if all(token.anchor_s is not None for token in kept):
        later = [i for i in starts if (kept[i].anchor_s or 0.0) >= need_s]
        drop = later[0] if later else starts[-1]
    else:
        share = (need_s - start_s) / max(1e-9, last - start_s)
        drop = starts[min(len(starts) - 1, max(1, -int(-share * len(starts) // 1)))]
    return Trim(tokens=drop, to_s=need_s)
