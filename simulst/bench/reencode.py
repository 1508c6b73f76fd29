"""The other way to translate a stream: encode all kept audio and decode all kept text anew at every chunk."""

from simulst.core.translator import Translator


def reencoding(translator: Translator) -> Translator:
    """The same weights without memory; an encoder-decoder has none as it is, its window is encoded anew anyway."""
    from simulst.models.speech_llm.compute import Computed, Recompute

    return translator.computed_by(Recompute(translator.weights)) if isinstance(translator, Computed) else translator
