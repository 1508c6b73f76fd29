"""One live translation on a worker thread: PCM bytes in, session events out."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulst.audio.resample import Resampler
from simulst.audio.samples import PEAK_LIMIT, FloatArray
from simulst.core.beside import feed_all, finish_all
from simulst.core.events import Event
from simulst.core.session import Session
from simulst.core.silence import Silence
from simulst.live.lane import Lane, Said
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

    said: list[Said]
    """In each target, in the order of the sessions."""
    transcript: str
    """Source text so far, "" where the model has none or nobody wants it."""
    audio_s: float
    load: float
    """Computing time per second of audio, lately."""


class Engine:
    """Decodes and resamples what a client sends and feeds the sessions, one for each target; one thread at a time."""

    def __init__(
        self, sessions: Sequence[Session], hello: Hello, beside: Beside = alone, silence_s: float = 0.0
    ) -> None:
        self.lanes = [Lane(session) for session in sessions]
        self._silence_s = silence_s
        self._silence = self._listen()
        self._beside = beside
        self.hello = hello
        self._resampler = Resampler(hello.sample_rate)
        self._past_s = 0.0
        self._past_transcript = ""
        self._told, self._told_s = "", -1.0
        self._fed_s = 0.0
        self._load = 0.0
        self._marks: deque[tuple[float, float]] = deque([(0.0, 0.0)])

    @property
    def session(self) -> Session:
        """That of the first target; the others have heard the same."""
        return self.lanes[0].session

    @property
    def sessions(self) -> list[Session]:
        return [lane.session for lane in self.lanes]

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
        events: list[list[Event]] = [[] for _ in self.lanes]
        if len(samples):
            events = feed_all(self.sessions, samples, catch_up=behind)
        if final:
            events = [[*before, *last] for before, last in zip(events, self._finish(), strict=True)]
        return self._output(events, spare=spare and not (final or behind))

    @property
    def pausing(self) -> bool:
        """Whether silence is being skipped."""
        return self._silence is not None and self._silence.pausing

    def switch(self, sessions: Sequence[Session]) -> Output:
        """End the sessions and go on in as many others; times and text continue."""
        with self._beside(self.session.model):
            events = self._finish()
        output = self._output(events, ends=False)
        self._past_s, self._past_transcript = output.audio_s, output.transcript
        for lane, session in zip(self.lanes, sessions, strict=True):
            lane.switch(session, output.audio_s)
        self._resampler = Resampler(self.hello.sample_rate)
        self._silence = self._listen()
        self._told, self._told_s = "", -1.0
        self._fed_s = 0.0
        self._marks = deque([(0.0, 0.0)])
        return output

    def _finish(self) -> list[list[Event]]:
        rest = self._listened(self._resampler.finish())
        if self._silence is not None:
            rest = np.concatenate([rest, self._silence.finish()])
        said = feed_all(self.sessions, rest) if len(rest) else [[] for _ in self.lanes]
        return [[*before, *last] for before, last in zip(said, finish_all(self.sessions), strict=True)]

    def _output(self, events: Sequence[Sequence[Event]], *, spare: bool = False, ends: bool = True) -> Output:
        transcript = self._heard_text()
        preview = spare and self.hello.hypotheses and self._load < PREVIEW_LOAD
        pairs = zip(self.lanes, events, strict=True)
        said = [lane.say(found, self._stream_s, preview=preview) for lane, found in pairs]
        self._measure()
        return Output(
            said=said if ends else [one.without_end() for one in said],
            transcript=f"{self._past_transcript} {transcript}".strip(),
            audio_s=self._past_s + self._audio_s,
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
        now = (self.session.audio_s, sum(session.stats.compute_s for session in self.sessions))
        if now[0] > self._marks[-1][0]:
            self._marks.append(now)
            while len(self._marks) > 2 and now[0] - self._marks[1][0] > LOAD_WINDOW_S:
                self._marks.popleft()
            first = self._marks[0]
            self._load = (now[1] - first[1]) / (now[0] - first[0])
