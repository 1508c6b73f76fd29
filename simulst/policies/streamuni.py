"""StreamUni: one speech LLM writes what was said, sees whether a sentence is over, and translates (2507.07803)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from simulst.core.alignment import anchors
from simulst.core.boundary import complete, count_units, word_starts
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.sentences import ends_sentence
from simulst.core.settings import setting
from simulst.core.translator import Evidence, Hypothesis

_MARKS = ".,;:!?…\"'»«”“’‘()[]"


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What the model wrote of the segment at one step."""

    ids: tuple[int, ...]
    text: str
    heard_s: float

    @property
    def words(self) -> list[str]:
        """Its words, without case and marks."""
        return [bare for word in self.text.lower().split() if (bare := word.strip(_MARKS))]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a segment ends, and its source."""

    source: tuple[int, ...]
    at_s: float


@dataclass(kw_only=True)
class StreamUniState:
    queue: list[Transcript] = field(default_factory=list)
    """The last transcripts of the segment, oldest first."""
    source_end: int = -1
    start_s: float | None = None
    """Where kept audio began at the first step of the segment; later only when it was cut under the policy's feet."""


@dataclass(frozen=True, kw_only=True)
class StreamUni(Policy[StreamUniState]):
    """Write the transcript of the segment, then as much of its translation as wait-k over that transcript allows.

    A segment ends where the transcript stays the same, or where a sentence of it is over and another has begun; the
    rest of its translation is written and its text and audio are forgotten.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.CHAIN})
    paper: ClassVar[str] = "Guo et al. 2025 (2507.07803)"
    default_history: ClassVar[str] = "segment_reset"

    k: int = setting(5, "source words to stay behind", unit="words", at_least=1, published="5")
    most: int = setting(8, "most words of one write", unit="words", at_least=1, published="8")
    tokens_per_word: int = setting(
        5, "tokens that decoding may take per word", unit="tokens", at_least=1, published="5"
    )
    queue: int = setting(
        3, "transcripts that are compared", at_least=2, at_most=20, why="one agrees with itself", published="3"
    )
    segment_s: float = setting(20.0, "longest segment", unit="s", above=0, published="30")

    def start(self) -> StreamUniState:
        return StreamUniState()

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: StreamUniState) -> Decision:
        if decoder.source_end == state.source_end:
            return Decision(reason="no new source")
        state.source_end = decoder.source_end
        state.start_s = view.start_s if state.start_s is None else state.start_s
        full = view.heard_s - view.start_s >= self.segment_s or view.start_s > state.start_s
        written, newest = self._hear(view, decoder)
        state.queue = [*state.queue, newest][-self.queue :]
        cut = self._cut(state.queue, written, decoder, full=full)
        if cut is not None and not cut.source and not committed.prefix:
            return Decision(segment_end=True, segment_end_s=cut.at_s, reason="silence")
        if cut is not None:
            return self._end(cut, decoder)
        due = count_units(newest.text, decoder.vocabulary) - committed.kept_words - self.k + 1
        if due < 1:
            return Decision(reason="read", diagnostics={"due": due})
        return self._write(newest, min(due, self.most), committed, decoder)

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: StreamUniState) -> Decision:
        _, newest = self._hear(view, decoder)
        return self._end(Cut(source=newest.ids, at_s=view.heard_s), decoder)

    def _hear(self, view: SourceView, decoder: Decoder) -> tuple[Hypothesis, Transcript]:
        written = decoder.write_source()
        text = decoder.vocabulary.decode(written.ids).strip()
        return written, Transcript(ids=written.ids, text=text, heard_s=view.heard_s)

    def _cut(self, queue: Sequence[Transcript], written: Hypothesis, decoder: Decoder, *, full: bool) -> Cut | None:
        """Where the segment ends, None where it goes on."""
        newest, finished = queue[-1], finished_tokens(queue[-1], decoder)
        over = decoder.vocabulary.decode(newest.ids[:finished])
        back = steps_back(queue, over, self.queue, full)
        if back is None:
            return None
        if back >= 0:
            return Cut(source=queue[-1 - back].ids, at_s=queue[-1 - back].heard_s)
        at_s, rows = anchors(written.alignment, len(newest.ids), self.attended)[finished], written.alignment
        if at_s is None or rows is None or at_s <= rows.start_s:
            return None
        return Cut(source=newest.ids[:finished], at_s=at_s)

    def _end(self, cut: Cut, decoder: Decoder) -> Decision:
        """Translate the segment up to the cut to its end."""
        found = decoder.translate_after(cut.source, until_s=cut.at_s)
        return Decision(
            commit=len(found.ids), hypothesis=found, segment_end=True, segment_end_s=cut.at_s, reason="segment end"
        )

    def _write(self, newest: Transcript, words: int, committed: Committed, decoder: Decoder) -> Decision:
        """As many words as are due."""
        vocabulary = decoder.vocabulary
        found = decoder.translate_after(newest.ids, max_new=self.tokens_per_word * words)
        starts = word_starts(found.ids, vocabulary, fresh=not committed.prefix)
        keep = complete(found, starts[words] if len(starts) > words else len(found.ids), vocabulary)
        return Decision(commit=keep, hypothesis=found, reason="words" if keep else "read", diagnostics={"due": words})


def finished_tokens(transcript: Transcript, decoder: Decoder) -> int:
    """Tokens up to the last sentence end that another word follows; 0: none."""
    ids, vocabulary = transcript.ids, decoder.vocabulary
    for at in range(len(ids) - 1, 0, -1):
        if vocabulary.starts_word(ids[at]):
            end = next((i for i in range(at + 1, len(ids)) if vocabulary.starts_word(ids[i])), len(ids))
            if ends_sentence([vocabulary.decode(ids[:at])], vocabulary.decode(ids[at:end])):
                return at
    return 0


def steps_back(queue: Sequence[Transcript], finished: str, size: int, too_long: bool) -> int | None:
    """How many steps ago the segment ended; -1: between two steps, at the end of `finished`; None: it goes on.

    `finished` is the part of the newest transcript whose sentences are over, "" where nothing follows them yet.
    """
    if len(queue) < size:
        return None
    if all(one.text == queue[0].text for one in queue):
        return size - 1
    newest, over = queue[-1].words, Transcript(ids=(), text=finished, heard_s=0.0).words
    if over:
        then = next((back for back in range(1, size) if queue[-1 - back].words == over), None)
        if then is not None:
            return then
        before = [one.words for one in queue[:-1]]
        if any(old and newest[: len(old)] == old for old in before):
            return -1
    return 0 if too_long else None
