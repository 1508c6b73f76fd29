"""A model of one's own, in one file: the encoder of a speech LLM as a streaming recogniser, by CTC alone.

    simulst translate examples/talk.flac --model examples/my_model.py:FAMILY --policy wait_k

It says the English words that it hears, under any policy that needs no more than a forced prefix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulst.core.translator import PLAIN, Evidence, FloatArray, Hypothesis, Query
from simulst.models import ModelFamily
from simulst.models.options import option
from simulst.models.registry import locate
from simulst.models.speech_llm import options, session, translator

PROVIDES = frozenset({Evidence.PREFIX, Evidence.CTC_COUNTS})


@dataclass(frozen=True, kw_only=True)
class Options:
    of: str = option("tiny-en-de", "the speech LLM that lends its encoder: a name or a directory")


class Recogniser(translator.SpeechLLMTranslator):
    def open(self) -> "RecogniserSession":
        return RecogniserSession(self)


class RecogniserSession(session.SpeechLLMSession):
    """CTC takes nothing back that it has heard: the hypothesis is what follows the committed tokens."""

    def __init__(self, model: Recogniser) -> None:
        super().__init__(model.weights, model.compute)
        self.heard, self.next, self.ended = list[int](), 0, False

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        super().extend_source(samples, is_final=is_final)
        new = [word for word in self.source_tokens() if word.vector >= self.next]
        self.heard = [*self.heard, *(word.token for word in new)]
        self.next, self.ended = new[-1].vector + 1 if new else self.next, is_final

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        new = tuple(self.heard[len(prefix) :][: query.max_new])
        return [Hypothesis(ids=new, stop="eos" if self.ended else "length")]

    def drop_target(self, count: int) -> None:
        self.heard = self.heard[count:]


def load(directory: Path, chosen: Options, *, name: str, device: str, dtype: str | None) -> Recogniser:
    weights = translator.read_weights(locate(chosen.of).directory, options.Options(), device=device, dtype=dtype)
    recogniser = Recogniser(weights, name=name, directory=directory)
    recogniser.provides = PROVIDES
    return recogniser


FAMILY = ModelFamily(name="ctc", options=Options, provides=lambda directory, chosen: PROVIDES, load=load)
