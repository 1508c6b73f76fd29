"""The speech-to-text agent."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from simulst.agents.base import PolicyAgent, SessionStates
from simulst.agents.harness import SpeechToTextAgent
from simulst.agents.settings import logger
from simulst.audio import SAMPLE_RATE, Resampler
from simulst.core.session import Session
from simulst.errors import AudioError


class StreamStates(SessionStates):
    """One stream of audio: lists or arrays of samples, [samples] or [samples, channels], at any rate."""

    def reset(self) -> None:
        super().reset()
        self._resampler: Resampler | None = None

    def update_source(self, segment: Any) -> None:
        super().update_source(segment)
        if self.source_finished and self._resampler is not None:
            self.pending.append(self._resampler.finish())
            self._resampler = None

    def prepare(self, segment: Any) -> npt.NDArray[np.float32]:
        samples, rate = np.asarray(segment.content, dtype=np.float32), segment.sample_rate
        if samples.ndim == 2:
            samples = samples.mean(axis=1, dtype=np.float32)
        self.source_sample_rate = rate
        if rate == SAMPLE_RATE:
            return samples
        if self._resampler is None:
            self._resampler = Resampler(rate)
            logger.info("The source has %d Hz: resampled, so a decision may come one segment later.", rate)
        elif rate != self._resampler.rate_hz:
            raise AudioError(f"The sample rate changes from {self._resampler.rate_hz} to {rate} Hz within one source.")
        return self._resampler.feed(samples)


class SpeechAgent(PolicyAgent, SpeechToTextAgent):  # type: ignore[misc]
    """One policy on one speech model."""

    states_kind: ClassVar[type[SessionStates]] = StreamStates

    def open_session(self) -> Session:
        chunk_ms, model = self.settings.chunk_ms, self.model
        if chunk_ms is not None and chunk_ms >= model.max_source_s * 1000:
            chunk_ms = None  # segments longer than the model's memory: the policy's own rhythm
        return Session(model, self.settings.policy, chunk_ms=chunk_ms)
