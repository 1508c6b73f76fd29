"""Where to end a segment when the kept audio is full and the policy has not committed what it says."""

from collections.abc import Sequence

from simulst.core.alignment import anchors
from simulst.core.history import SENTENCE_TAIL
from simulst.core.policy import AnyPolicy
from simulst.core.sentences import ends_sentence
from simulst.core.translator import Hypothesis, Vocabulary

SILENCE_KEPT_S = 1.0
"""Audio that stays when the model has nothing to say about the rest."""


def segment_cut(
    hypothesis: Hypothesis, commit: int, vocabulary: Vocabulary, need_s: float, policy: AnyPolicy
) -> tuple[int, float | None]:
    """How many new tokens to commit and from which absolute time on audio stays; (commit, None) without alignment.

    The last sentence end whose successor lies after `need_s`; else the last word start there, so that a word that is
    cut by the end of the audio is translated again.
    """
    alignment = hypothesis.alignment
    if alignment is None or alignment.n_valid == 0:
        return commit, None
    times = anchors(alignment, alignment.history + commit, policy.attended)[alignment.history :]
    fitting = [
        (i, time)
        for i, time in enumerate(times)
        if i > 0 and time is not None and time >= need_s and vocabulary.starts_word(hypothesis.ids[i])
    ]
    if not fitting:
        return commit, None
    sentences = [(i, time) for i, time in fitting if _begins_sentence(hypothesis.ids, i, vocabulary)]
    return (sentences or fitting)[-1]


def _begins_sentence(ids: Sequence[int], index: int, vocabulary: Vocabulary) -> bool:
    """Whether the word that begins at `index` begins a sentence."""
    end = next((i for i in range(index + 1, len(ids)) if vocabulary.starts_word(ids[i])), len(ids))
    before = vocabulary.decode(ids[max(0, index - SENTENCE_TAIL) : index])
    return ends_sentence([before], vocabulary.decode(ids[index:end]))
