"""The commit log: the only place that turns committed token ids into the text that users see."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from simulst.core.prefix import common_prefix
from simulst.core.translator import Vocabulary

REPLACEMENT = "\ufffd"
_HELD = REPLACEMENT + " \t\n\r\f\v\u00a0\u2003\u3000"  # held back at the end of the text until something follows
_WINDOW_MAX = 48
_WINDOW_KEEP = 16
_WINDOW_HARD = 256
_BLOCK = 64  # parts of settled text that are joined to one string


@dataclass(slots=True, kw_only=True)
class CommittedToken:
    """One committed id that is still part of the forced prefix."""

    id: int
    text: str
    """What it added to the shown text ("" while a character is incomplete)."""
    starts_word: bool
    anchor_s: float | None
    """Start of the source frame it attends to, refreshed while it is kept; None without alignment."""
    heard_s: float
    """Audio that decoding saw when it was committed."""
    end_char: int
    """Length of the whole text after it."""
    words: int
    """Words of the whole text after it."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """How the shown text changed: `retract` characters off its end, then `text` appended."""

    retract: int = 0
    text: str = ""
    words_retracted: int = 0
    start_s: float | None = None
    end_s: float | None = None

    def __bool__(self) -> bool:
        return bool(self.retract or self.text)


class CommitLog:
    """Ids, text and source anchors of one stream.

    Bytes of an incomplete character and trailing spaces wait until what follows is committed, so no U+FFFD and no empty
    write leaves. Text is made by decoding a window of at most some dozen recent ids: the cost of a commit does not
    depend on the length of the stream.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._kept: list[CommittedToken] = []
        self._dropped = 0
        self._blocks: list[str] = []  # text of ids that are no longer kept
        self._done: list[str] = []  # what follows the blocks
        self._done_chars = 0
        self._done_words = 0
        self._last_char = ""
        self._window: list[int] = []  # recent ids, decoded together
        self._raw = 0  # characters of the decoded window that were given out or skipped
        self._join = False  # the next visible text opens a word although its token may not say so
        self._prefix: tuple[int, ...] | None = None

    @property
    def kept(self) -> Sequence[CommittedToken]:
        return self._kept

    @property
    def prefix(self) -> tuple[int, ...]:
        """The ids to force: everything committed that history selection has not forgotten."""
        if self._prefix is None:
            self._prefix = tuple(token.id for token in self._kept)
        return self._prefix

    @property
    def dropped(self) -> int:
        return self._dropped

    @property
    def words(self) -> int:
        """Words of the whole text (characters in a script without spaces)."""
        return self._kept[-1].words if self._kept else self._done_words

    @property
    def kept_words(self) -> int:
        """Words of the text of ids that are still kept."""
        return self.words - self._done_words

    @property
    def chars(self) -> int:
        return self._kept[-1].end_char if self._kept else self._done_chars

    @property
    def text(self) -> str:
        return self.settled + "".join(token.text for token in self._kept)

    @property
    def settled(self) -> str:
        """Text of ids that are no longer kept; nothing can take it back."""
        return "".join([*self._blocks, *self._done])

    def text_from(self, start: int) -> str:
        """The text from a character on; what lies long before it is not touched."""
        parts, begin = list[str](), self.chars
        for part in chain((token.text for token in reversed(self._kept)), self._backwards()):
            if begin <= start:
                break
            parts.append(part)
            begin -= len(part)
        return "".join(reversed(parts))[max(0, start - begin) :]

    def _backwards(self) -> Iterator[str]:
        """Parts of the settled text, the newest first."""
        return chain(reversed(self._done), reversed(self._blocks))

    @property
    def settled_chars(self) -> int:
        return self._done_chars

    def apply(
        self,
        ids: Sequence[int],
        *,
        retract: int = 0,
        anchors: Sequence[float | None] | None = None,
        frame_s: float = 0.0,
        heard_s: float = 0.0,
    ) -> Change:
        """Take back the last `retract` kept ids, append `ids`, and say how the shown text changed.

        `anchors` are the starts of the source frames that the new ids attend to, `frame_s` the length of such a frame.
        """
        if retract > len(self._kept):
            raise ValueError(f"{retract} tokens to retract, {len(self._kept)} shown")
        before, words = self.chars, self.words
        old = self._retract(retract) if retract else ""
        words_retracted = words - self.words
        for i, token in enumerate(ids):
            self._append(token, None if anchors is None else anchors[i], heard_s)
        new = "".join(token.text for token in self._kept[len(self._kept) - len(ids) :]) if ids else ""
        same = common_prefix(old, new)
        known = [a for a in anchors or () if a is not None]
        return Change(
            retract=before - (self.chars - len(new)) - same,
            text=new[same:],
            words_retracted=words_retracted,
            start_s=min(known) if known else None,
            end_s=max(known) + frame_s if known else None,
        )

    def preview(self, ids: Sequence[int]) -> str:
        """The text that committing `ids` would append, complete characters only."""
        decoded = self._vocabulary.decode([*self._window, *ids])
        return decoded.rstrip(_HELD)[self._raw :].replace(REPLACEMENT, "")

    def realign(self, anchors: Sequence[float | None]) -> None:
        """Refresh the anchors of the oldest kept ids from a newer alignment."""
        for token, anchor in zip(self._kept, anchors, strict=False):
            if anchor is not None:
                token.anchor_s = anchor

    def drop(self, count: int) -> None:
        """Forget the oldest `count` kept ids as prefix; their text stays."""
        if not count:
            return
        gone, self._kept = self._kept[:count], self._kept[count:]
        self._dropped += len(gone)
        self._done.append("".join(token.text for token in gone))
        self._done_chars, self._done_words = gone[-1].end_char, gone[-1].words
        if len(self._done) > _BLOCK:  # blocks stay as they are: no copy of hours of text
            self._blocks.append("".join(self._done))
            self._done = []
        self._prefix = None

    def _retract(self, count: int) -> str:
        gone, self._kept = self._kept[-count:], self._kept[:-count]
        self._prefix = None
        self._window = [token.id for token in self._kept[-_WINDOW_KEEP:]]
        self._raw = len(self._vocabulary.decode(self._window).rstrip(_HELD)) if self._window else 0
        shown = next((t.text for t in reversed(self._kept) if t.text), self._done_tail())
        self._last_char = shown[-1:]
        return "".join(token.text for token in gone)

    def _done_tail(self) -> str:
        return next((part for part in self._backwards() if part), "")

    def _append(self, token: int, anchor: float | None, heard_s: float) -> None:
        starts = self._vocabulary.starts_word(token)
        if not self._kept:  # nothing is forced: decoding starts afresh, so a new word begins whatever the token says
            self._window, self._raw = [], 0
            closes = self._vocabulary.closes_unit(token)
            self._join = self._vocabulary.spaced and not closes
            starts = starts or not closes
        text = self._decode(token)
        words, chars = self.words + self._count_words(text), self.chars + len(text)
        self._last_char = text[-1:] or self._last_char
        self._kept.append(
            CommittedToken(
                id=token,
                text=text,
                starts_word=starts,
                anchor_s=anchor,
                heard_s=heard_s,
                end_char=chars,
                words=words,
            )
        )
        self._prefix = None

    def _decode(self, token: int) -> str:
        """What this id adds to the text; the window moves on."""
        self._window.append(token)
        decoded = self._vocabulary.decode(self._window)
        stable = len(decoded.rstrip(_HELD))
        text = decoded[self._raw : stable].replace(REPLACEMENT, "")
        self._raw = max(self._raw, stable)
        if len(self._window) > _WINDOW_MAX:
            self._shorten(decoded)
        if not text:
            return ""
        if not self._last_char:
            text = text.lstrip()
        elif self._join and not text[0].isspace():
            text = " " + text
        self._join = False
        return text

    def _shorten(self, decoded: str) -> None:
        """Start the window later where that leaves the text of its rest as it was."""
        held = len(decoded) - self._raw
        for start in range(len(self._window) - 2 * _WINDOW_KEEP, len(self._window) - _WINDOW_KEEP):
            rest = self._vocabulary.decode(self._window[start:])
            if self._vocabulary.starts_word(self._window[start]) and decoded.endswith(rest):
                self._window, self._raw = self._window[start:], len(rest) - held
                return
        if len(self._window) > _WINDOW_HARD:  # one endless word
            self._window = self._window[-_WINDOW_KEEP:]
            self._raw = max(0, len(self._vocabulary.decode(self._window)) - held)

    def _count_words(self, text: str) -> int:
        if not self._vocabulary.spaced:
            return sum(not character.isspace() for character in text)
        previous = self._last_char or " "
        count = 0
        for character in text:
            count += previous.isspace() and not character.isspace()
            previous = character
        return count
