"""Which models can compute several streams together, and what does it."""

from simulst.core.translator import Translator
from simulst.errors import ModelError
from simulst.models.meeting import Meeting


def batcher_of(model: Translator, *, streams: int, wait_s: float | None = None) -> Meeting:
    """Where up to `streams` streams of the model meet (`Meeting`). ModelError for a model that cannot."""
    from simulst.models.seq2seq.whisper import Whisper
    from simulst.models.speech_llm.compute import Computed

    if isinstance(model, Whisper):
        from simulst.models.seq2seq.batching import WhisperBatcher

        return WhisperBatcher(model, streams=streams, wait_s=wait_s)
    if isinstance(model, Computed):
        from simulst.models.speech_llm.batching import Batcher

        return Batcher(model, streams=streams, wait_s=wait_s)
    raise ModelError(f"Model {model.name} cannot decode several streams together; speech LLMs and Whisper can.")
