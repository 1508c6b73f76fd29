"""What all streams have in common: a policy decides, what it decided is written, and what was written is told.

What the source is, when there is something to decide and what may be forgotten is a matter of those that extend it:
`simulst.core.session` on audio, the text task of SimulEval on words.
"""

from collections.abc import Callable, Sequence

from simulst.core.activity import SpeechActivity
from simulst.core.alignment import anchors
from simulst.core.boundary import opens_word
from simulst.core.checked import NotFinite, SessionDecoder
from simulst.core.commit import Change, CommitLog
from simulst.core.events import Event, ProgressEvent
from simulst.core.favoured import Favouring
from simulst.core.loaded import LoadedPolicy, check_fits
from simulst.core.observed import Observed, Observer
from simulst.core.policy import Committed, Decision, PolicyStream, SourceView
from simulst.core.report import Report, SessionStats
from simulst.core.translator import Evidence, Translator, TranslatorSession
from simulst.errors import PolicyError


class Deciding:
    """The decisions of one stream of a model under a policy. Raises PolicyError for a policy that the model cannot run.

    `_begin` starts a stream; one that extends this keeps its model's session and feeds it.
    """

    def __init__(self, model: Translator, loaded: LoadedPolicy, *, clock: Callable[[], float]) -> None:
        check_fits(loaded, model)
        self.model = model
        self.policy = loaded.policy
        self.name = loaded.name
        self.revises = loaded.policy.revises
        """Whether the policy may take text back that was shown."""
        self.observer: Observer | None = None
        """Is shown every decision; costs nothing where there is none."""
        self._clock = clock

    def _begin(
        self,
        translator: TranslatorSession,
        wants: frozenset[Evidence] = frozenset(),
        *,
        whole: bool = False,
        activity: SpeechActivity | None = None,
        favouring: Favouring | None = None,
    ) -> None:
        """A new stream; `wants`, `whole`, `activity` and `favouring` are those of `SessionDecoder`."""
        self._translator = translator
        self._decoder = SessionDecoder(
            self.model, translator, wants, whole=whole, activity=activity, favouring=favouring
        )
        self._log = CommitLog(self.model.vocabulary)
        self._rule = PolicyStream(self.policy)
        self._ended = False
        self.last_decision: Decision | None = None
        self.stats = SessionStats()
        self._report = Report(self.stats, self._clock)

    @property
    def text(self) -> str:
        """Everything that is shown now."""
        return self._log.text

    def text_from(self, start: int) -> str:
        """`text[start:]` for a `start` >= 0, without making what lies long before it."""
        return self._log.text_from(start)

    @property
    def audio_s(self) -> float:
        """Audio that has been decided on."""
        return self._report.audio_s

    @property
    def lag(self) -> float:
        """Seconds from the end of the source words of the latest write to that write, computing included."""
        return self._report.lag_s

    @property
    def prefix(self) -> tuple[int, ...]:
        """Committed ids that are still forced."""
        return self._log.prefix

    def progress(self) -> ProgressEvent:
        """Where the stream stands now."""
        settled, vocabulary = self.settled_characters, self.model.vocabulary
        whole = settled == self._log.chars and opens_word(self.last_decision, vocabulary)
        return self._report.progress(settled=settled, whole=whole or not vocabulary.spaced)

    def drain(self) -> list[Event]:
        """Events that nobody has taken yet (left behind by an interrupted call)."""
        return self._report.drain()

    def _close(self) -> list[Event]:
        self._report.end(self.text, words=self._log.words)
        return self.drain()

    @property
    def settled_characters(self) -> int:
        """Characters of the text that can no longer change."""
        return self._log.settled_chars if self.revises else self._log.chars

    def _view(self, *, is_final: bool) -> SourceView:
        return SourceView(
            start_s=self._translator.start_s,
            heard_s=self._translator.heard_s,
            received_s=self.audio_s,
            is_final=is_final,
            step=self.stats.steps,
        )

    def _committed(self) -> Committed:
        log = self._log
        return Committed(prefix=log.prefix, dropped=log.dropped, words=log.words, kept_words=log.kept_words)

    def _decide(self, *, final: bool, is_final: bool) -> Decision:
        """The policy's decision; with `final` its ungated last one, of the stream or of forced progress."""
        self._decoder.prefix, self._decoder.final = self._log.prefix, final
        self._seen = self._view(is_final=is_final)
        try:
            decision = self._rule.decide(self._seen, self._committed(), self._decoder, final=final)
        except NotFinite:
            self.stats.not_finite += 1
            decision = Decision(reason="evidence is not finite", diagnostics={"not_finite": self.stats.not_finite})
        self._check(decision)
        self.stats.counts.update(decision.counts)
        self.last_decision = decision
        return decision

    def _check(self, decision: Decision) -> None:
        """PolicyError for a decision that cannot be carried out."""
        available = 0 if decision.hypothesis is None else len(decision.hypothesis.ids)
        if not (0 <= decision.commit <= available and 0 <= decision.retract <= len(self._log.kept)):
            raise PolicyError(
                f"Policy {self.name} decided to commit {decision.commit} of {available} tokens and to retract "
                f"{decision.retract} of {len(self._log.kept)}; nothing was committed."
            )
        if decision.retract and not self.revises:
            raise PolicyError(f"Policy {self.name} takes text back; its class must say so with revises = True.")

    def _apply(self, decision: Decision) -> None:
        """Write what was decided, and show it to the observer."""
        change, times = self._carry_out(decision)
        if self.observer is not None:
            self.observer(self._observed(decision, change, times))

    def _carry_out(self, decision: Decision) -> tuple[Change, Sequence[float | None]]:
        """The change of the text and the source time of each new id.

        The anchors of kept ids are refreshed where the alignment's rows index them.
        """
        hypothesis = decision.hypothesis
        if hypothesis is None and not decision.retract:
            return Change(), ()
        alignment = None if hypothesis is None else hypothesis.alignment
        history = len(self._log.kept) - decision.retract
        if alignment is not None and alignment.history != history:
            alignment = None
        times = anchors(alignment, history + decision.commit, self.policy.attended)
        words = self._log.words
        change = self._log.apply(
            hypothesis.ids[: decision.commit] if hypothesis is not None else (),
            retract=decision.retract,
            anchors=times[history:],
            frame_s=alignment.frame_s if alignment is not None else 0.0,
            heard_s=self._translator.heard_s,
        )
        self._log.realign(times[:history])
        self.stats.tokens += decision.commit
        self.stats.words_retracted += change.words_retracted
        self.stats.words_written += self._log.words - words + change.words_retracted
        if change:
            self.stats.writes += 1
            self._report.write(change, settled=self.settled_characters)
        return change, times[history:]

    def _observed(self, decision: Decision, change: Change, times: Sequence[float | None]) -> Observed:
        ids = decision.hypothesis.ids if decision.hypothesis is not None else ()
        decode, commit = self.model.vocabulary.decode, decision.commit
        said = [decode(ids[: i + 1]) for i in range(commit)]
        return Observed(
            view=self._seen,
            decision=decision,
            written=change.text,
            retracted=change.retract,
            times=tuple(times),
            pieces=tuple(after[len(before) :] for before, after in zip(["", *said], said, strict=False)),
            rest=self._log.preview(ids[commit:]) if commit < len(ids) else "",
        )
