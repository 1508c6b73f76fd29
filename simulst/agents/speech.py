"""The speech-to-text agent."""

import numpy as np

from simulst.agents.base import PolicyAgent, SessionStates
from simulst.agents.harness import Segment, SpeechToTextAgent
from simulst.agents.settings import logger
from simulst.audio import SAMPLE_RATE, FloatArray, Resampler
from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.errors import AudioError


class StreamStates(SessionStates[FloatArray]):
    """One stream of audio: lists or arrays of samples, [samples] or [samples, channels], at any rate."""

    def reset(self) -> None:
        super().reset()
        self._resampler: Resampler | None = None

    def update_source(self, segment: Segment) -> None:
        super().update_source(segment)
        if self.source_finished and self._resampler is not None:
            self.pending.append(self._resampler.finish())
            self._resampler = None

    def prepare(self, segment: Segment) -> FloatArray:
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


class SpeechAgent(PolicyAgent[FloatArray, Translator], SpeechToTextAgent):
    """One policy on one speech model."""

    def load(self, device: str, dtype: str | None) -> Translator:
        return self.settings.load(device, dtype)

    def open_session(self) -> Session:
        chunk_ms, model = self.settings.chunk_ms, self.model
        if chunk_ms is not None and chunk_ms >= model.max_source_s * 1000:
            chunk_ms = None  # segments longer than the model's memory: the policy's own rhythm
        return Session(model, self.settings.policy, chunk_ms=chunk_ms)

    def build_states(self) -> StreamStates:
        return StreamStates(self.open_session)
