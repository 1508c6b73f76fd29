"""One live translation on a worker thread: PCM bytes in, session events out."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulst.audio.resample import Resampler
from simulst.audio.samples import PEAK_LIMIT, FloatArray
from simulst.core.events import EndEvent, Event, HypothesisEvent, WriteEvent
from simulst.core.session import Session
from simulst.core.silence import Silence
from simulst.live.protocol import Hello, ProtocolError
from simulst.live.together import Beside, alone

CATCH_UP_S = 2.0
"""A live stream with more undecided audio than this skips the decisions in between."""
LOAD_WINDOW_S = 10.0
PREVIEW_LOAD = 0.5
"""Computing time per second of audio above which the unstable rest is no longer decoded."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """What one piece of work brought."""

    events: list[WriteEvent | EndEvent]
    transcript: str
    """Source text so far, "" where the model has none or nobody wants it."""
    hypothesis: str
    """The unstable continuation."""
    audio_s: float
    load: float
    """Computing time per second of audio, lately."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the sessions before the current one amounted to."""

    audio_s: float = 0.0
    compute_s: float = 0.0
    transcript: str = ""
    characters: int = 0
    """Of its text."""


class Engine:
    """Decodes and resamples what a client sends and feeds the session; one thread at a time."""

    def __init__(self, session: Session, hello: Hello, beside: Beside = alone, silence_s: float = 0.0) -> None:
        self.session = session
        self._silence_s = silence_s
        self._silence = self._listen()
        self._beside = beside
        self.hello = hello
        self._resampler = Resampler(hello.sample_rate)
        self._past = Past()
        self._fresh = True
        self._before = 0  # characters of the whole text before that of the session
        self._told, self._told_s = "", -1.0
        self._fed_s = 0.0
        self._load = 0.0
        self._steps = 0
        self._hypothesis = self._session_hypothesis = ""
        self._marks: deque[tuple[float, float]] = deque([(0.0, 0.0)])

    def work(self, data: bytes, final: bool, spare: bool = False) -> Output:
        """Take whole frames; with `final` also say all that is left; `spare` allows work for display only.

        Raises ProtocolError for samples without meaning.
        """
        samples = self._listened(self._resampler.feed(self._decode(data)))
        self._fed_s += len(data) / self.hello.frame_bytes / self.hello.sample_rate
        with self._beside(self.session.model):
            return self._advance(samples, final, spare)

    def _advance(self, samples: FloatArray, final: bool, spare: bool) -> Output:
        skipped_s = 0.0 if self._silence is None else self._silence.skipped_s
        behind = self.hello.pace == "live" and self._fed_s - skipped_s - self.session.audio_s > CATCH_UP_S
        events = self.session.feed(samples, catch_up=behind) if len(samples) else []
        if final:
            events += self._finish()
        return self._output(events, spare=spare and not (final or behind))

    @property
    def pausing(self) -> bool:
        """Whether silence is being skipped."""
        return self._silence is not None and self._silence.pausing

    def switch(self, session: Session) -> Output:
        """End the session and go on in another one; times and text continue."""
        with self._beside(self.session.model):
            events = [event for event in self._finish() if not isinstance(event, EndEvent)]
        output = self._output(events)
        self._past = Past(
            audio_s=output.audio_s,
            compute_s=self._past.compute_s + self.session.stats.compute_s,
            transcript=output.transcript,
            characters=self._before + len(self.session.text),
        )
        self._before = self._past.characters
        self.session = session
        self._resampler = Resampler(self.hello.sample_rate)
        self._silence = self._listen()
        self._told, self._told_s = "", -1.0
        self._fed_s = 0.0
        self._fresh = True
        self._steps = 0
        self._hypothesis = self._session_hypothesis = ""
        self._marks = deque([(0.0, 0.0)])
        return output

    def _finish(self) -> list[Event]:
        rest = self._listened(self._resampler.finish())
        if self._silence is not None:
            rest = np.concatenate([rest, self._silence.finish()])
        return [*(self.session.feed(rest) if len(rest) else []), *self.session.finish()]

    def _output(self, events: Sequence[Event], *, spare: bool = False) -> Output:
        transcript = self._heard_text()
        self._note_hypothesis(events, spare)
        self._measure()
        return Output(
            events=[self._placed(event) for event in events if isinstance(event, WriteEvent | EndEvent)],
            hypothesis=self._hypothesis,
            transcript=f"{self._past.transcript} {transcript}".strip(),
            audio_s=self._past.audio_s + self._audio_s,
            load=self._load,
        )

    def _heard_text(self) -> str:
        """The transcript of the session; in a pause, which adds nothing, it is not put together anew."""
        if self.hello.transcript and not (self.pausing and self._told_s == self.session.audio_s):
            self._told, self._told_s = self.session.transcript(), self.session.audio_s
        return self._told

    def _listen(self) -> Silence | None:
        return Silence(self._silence_s) if self._silence_s else None

    def _listened(self, samples: FloatArray) -> FloatArray:
        """What the session hears of the samples."""
        return samples if self._silence is None else self._silence.feed(samples)

    @property
    def _audio_s(self) -> float:
        """Audio of the session's part of the stream that has been decided on; silence that is skipped needs nothing."""
        if self._silence is None:
            return self.session.audio_s
        return self._silence.seen_s if self._silence.pausing else self._stream_s(self.session.audio_s)

    def _stream_s(self, heard_s: float) -> float:
        return heard_s if self._silence is None else self._silence.stream_s(heard_s)

    def _note_hypothesis(self, events: Sequence[Event], spare: bool) -> None:
        """Keep what is shown grey; a policy that stops decoding at its border leaves it to be decoded here."""
        session = self.session
        if session.stats.steps == self._steps:
            return
        self._steps = session.stats.steps
        for event in events:
            if isinstance(event, HypothesisEvent):
                self._session_hypothesis = event.text
        if not session.shows_rest and spare and self.hello.hypotheses and self._load < PREVIEW_LOAD:
            self._hypothesis = session.preview()
        else:
            self._hypothesis = self._session_hypothesis

    def _placed(self, event: WriteEvent | EndEvent) -> WriteEvent | EndEvent:
        """The event on the clock of the whole stream."""
        past, audio_s = self._past, self._past.audio_s + self._stream_s(event.audio_s)
        if isinstance(event, EndEvent):
            compute_s = past.compute_s + self.session.stats.compute_s
            return replace(event, audio_s=audio_s, rtf=compute_s / audio_s if audio_s else 0.0)
        text = event.text
        if self._fresh and text:
            self._fresh = False
            apart = past.characters and self.session.model.vocabulary.spaced and not text[0].isspace()
            text = f" {text}" if apart else text
            self._before += bool(apart)
        return replace(
            event,
            text=text,
            settled=None if event.settled is None else self._before + event.settled,
            audio_s=audio_s,
            compute_s=past.compute_s + event.compute_s,
            start_s=None if event.start_s is None else past.audio_s + self._stream_s(event.start_s),
            end_s=None if event.end_s is None else past.audio_s + self._stream_s(event.end_s),
        )

    def _decode(self, data: bytes) -> FloatArray:
        if self.hello.format == "s16le":
            samples = np.frombuffer(data, "<i2").astype(np.float32) * np.float32(2**-15)
        else:
            samples = np.frombuffer(data, "<f4").astype(np.float32, copy=False)
            if not np.abs(samples).max(initial=0.0) <= PEAK_LIMIT:  # neither is NaN
                raise ProtocolError("bad_samples", "The samples must be finite numbers near [-1, 1].")
        if self.hello.channels == 1:
            return samples
        return np.asarray(samples.reshape(-1, self.hello.channels).mean(axis=1, dtype=np.float32))

    def _measure(self) -> None:
        now = (self.session.audio_s, self.session.stats.compute_s)
        if now[0] > self._marks[-1][0]:
            self._marks.append(now)
            while len(self._marks) > 2 and now[0] - self._marks[1][0] > LOAD_WINDOW_S:
                self._marks.popleft()
            first = self._marks[0]
            self._load = (now[1] - first[1]) / (now[0] - first[0])
