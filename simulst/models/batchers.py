"""Which models can compute several streams together, and what does it."""

from simulst.core.translator import Translator
from simulst.errors import ModelError
from simulst.models.cascade import Cascade
from simulst.models.meeting import Meeting
from simulst.models.seq2seq.weights import Seq2SeqWeights
from simulst.models.speech_llm.compute import Computed
from simulst.models.text.encoder_decoder import EncoderDecoder


def batcher_of(model: Translator, *, streams: int, wait_s: float | None = None) -> Meeting:
    """Where up to `streams` streams of the model meet (`Meeting`). ModelError for a model that cannot.

    The halves of a cascade meet in one place, so that those that hear are not waited for by those that translate.
    """
    heard = model.recogniser if isinstance(model, Cascade) else model
    if isinstance(heard, Computed):
        from simulst.models.speech_llm.batching import Batcher

        meeting: Meeting = Batcher(heard, streams=streams, wait_s=wait_s)
    else:
        meeting = Meeting(streams=streams, wait_s=wait_s)
        meeting.translator = heard
    if isinstance(model, Cascade):
        meeting.translator = model.of(_met(meeting.translator, meeting), _met(model.text, meeting), meeting)
    else:
        meeting.translator = _met(meeting.translator, meeting)
    if not meeting.computes_any:
        raise ModelError(
            f"Model {model.name} cannot decode several streams together; "
            "speech LLMs, encoder-decoders and cascades of them can."
        )
    return meeting


def _met(model: Translator, meeting: Meeting) -> Translator:
    """The model, computed where streams meet if it is an encoder-decoder."""
    if isinstance(model, Seq2SeqWeights):
        from simulst.models.seq2seq.batching import Together

        return model.computed_by(Together(model, meeting))
    if isinstance(model, EncoderDecoder):
        from simulst.models.text.compute import Together as TextsTogether

        return model.computed_by(TextsTogether(model.model, meeting))
    return model
