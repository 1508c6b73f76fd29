"""Options of speech LLMs."""

from dataclasses import dataclass
from typing import Literal

from simulst.models.options import option
from simulst.models.seq2seq.weights import Seq2SeqOptions


@dataclass(frozen=True, kw_only=True)
class Options(Seq2SeqOptions):
    """What a speech LLM is told beside the audio, and how it decodes."""

    task: Literal["translate", "transcribe"] = option("translate", "translate, or write down what is said")
    source: str | None = option(None, "language of the speech: a code such as en; none: the model is not told")
    target: str = option("de", "language of the translation: a code such as de")
    prompt: str | None = option(
        None,
        "what the model is told instead; {source} and {target} are the languages. With the model's mark for audio in "
        "it, the whole prompt as it is",
    )
