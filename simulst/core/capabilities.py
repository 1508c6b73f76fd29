"""What only some models can do, as types: a session names the object that does it, or None."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from simulst.core.favoured import Favoured
from simulst.core.query import Draw, Evidence, Hypothesis, Query


class SegmentSession(Protocol):
    """Hears what comes after a final piece as a recording of its own."""

    def restart(self) -> None:
        """Forget all that was heard and written; times go on. It follows a final piece."""
        ...


class SourceLanguageModel(Protocol):
    """Continues source text."""

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        """Sampled continuations of a source text, each without the text itself."""
        ...


class SourceModel(SourceLanguageModel, Protocol):
    """The text side of a model (SOURCE_LM): it continues source text and translates it, several texts in one batch."""

    @property
    def evidence(self) -> frozenset[Evidence]:
        """What hypotheses of `search_text` can carry: NBEST, LOGPROBS, ALIGNMENT (rows over the words of the text,
        one column a word); nothing where it gives the best translation alone."""
        ...

    def continuer(self, name: str) -> SourceLanguageModel:
        """What continues the source: the causal model in the directory or under the hub name `name`, or for "" this
        model itself. Raises ModelError."""
        ...

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        """The best translation of each source text that begins with the target ids `prefix`: new ids only."""
        ...

    def search_text(self, text: str, prefix: Sequence[int], query: Query, *, max_new: int) -> list[Hypothesis]:
        """Hypotheses of a text that begin with the target ids `prefix`: at most `max_new` new ids; best first."""
        ...


@dataclass(frozen=True, kw_only=True)
class ReadWrite:
    """How a model that was trained on READ and WRITE tokens is run."""

    latency: str = "medium"
    """The tag in its prompt: low, low-medium, medium, medium-high or high; without effect on turns."""
    turn: int = 0
    """0: the model decides when it writes. m: it is made to write (maybe nothing) after every m blocks of audio."""
    joint: bool = False
    """Turns hold transcript and translation; the session gives out the one of its language. Needs JOINT."""
    threshold: float = 0.5
    """Probability of WRITE against READ from which on it writes."""
    max_new: Callable[[int], int] = lambda words: 2 * (words + 25)
    """Most tokens of one write, given the source words heard since the last one."""
    most: int = 1024
    """Most tokens of one call."""
    sentence_words: int = 20
    """Write at the end of a source sentence once this many words were heard since the last write; 0: never."""
    favoured: Favoured | None = None
    """Terms of a glossary that were heard."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Some source and what was written after it."""

    tokens: int
    """Target ids, maybe none."""
    end_s: float
    """Absolute end of its source."""
    entries: int
    """Cache entries it takes: vectors of source, the mark of its write, its tokens, the mark of its end."""
    vector_s: float = 0.0
    """Seconds that an entry of source stands for; 0 where the turn cannot be cut."""


class ReadWriteSession(Protocol):
    """A session that runs the model's own READ and WRITE (SESSION_TOKENS)."""

    def read_write(
        self, prefix: Sequence[int], plan: ReadWrite, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """Read the source that is new and return all that the model writes meanwhile, at the end too with `final`.

        `prefix` are the committed ids that are kept; what was written before and not committed is taken back.
        """
        ...

    def turns(self) -> tuple[Sequence[Turn], int]:
        """The turns that are over, oldest first, and the number of cache entries after the last of them."""
        ...

    def keep_first(self, count: int, recent: int | None = None) -> None:
        """Keep the first `count` entries after the prompt in the cache although their source and text are forgotten.

        With `recent`, the streaming heads of the model hold nothing but the prompt, those and the newest `recent`
        entries. Raises ModelError where forgetting empties the cache, or no heads are known to be of that kind.
        """
        ...


class ChainSession(Protocol):
    """A session whose decoder writes a transcript, and the translation after it (CHAIN)."""

    def write_source(self, *, max_new: int | None = None) -> Hypothesis:
        """The transcript of all kept audio as the decoder writes it, with alignment; ids of the vocabulary."""
        ...

    def translate_after(
        self,
        source: Sequence[int],
        prefix: Sequence[int],
        *,
        until_s: float | None = None,
        max_new: int | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> Hypothesis:
        """Continue `prefix` after the transcript `source`, given the kept audio before the absolute time `until_s`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Transduce:
    """How a transducer is searched."""

    beams: int = 1
    """Hypotheses that are followed; 1: the likelier of blank and a token each time."""
    threshold: float = 0.5
    """Probability of a token against blank that counts as even."""
    favoured: Favoured | None = None
    """Terms of a glossary that were heard."""


class TransducerSession(Protocol):
    """A session whose model decides itself after every block of audio: blank or the next token (TRANSDUCER)."""

    def transduce(
        self, prefix: Sequence[int], plan: Transduce, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """Look once at every block that is new and return what is written for good; at the end, with `final`, all that
        is left to say.

        `prefix` are the committed ids that are kept. Where no block is new the hypothesis is empty and says nothing of
        alignment.
        """
        ...
