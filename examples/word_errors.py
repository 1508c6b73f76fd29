"""Word error rate as a metric, for a model that transcribes (docs/policies.md measures `joint` with it).

    simulst evaluate transcribed --model MODEL --set task=transcribe --metric examples/word_errors.py:WER --output run

`transcribed` is a test set whose target is the transcript. Case and punctuation do not count.
"""

import re
from collections.abc import Sequence

import numpy as np

from simulst.eval.metrics.metric import Counts, Metric, Shown, Texts


def words_of(text: str) -> list[str]:
    """Words in small letters, apostrophes inside them kept."""
    return re.findall(r"\w+(?:['’]\w+)*", text.lower())


def errors(said: Sequence[str], expected: Sequence[str]) -> int:
    """The fewest words that are inserted, left out or replaced."""
    row = list(range(len(said) + 1))
    for i, word in enumerate(expected, 1):
        before, row = row, [i]
        for j, other in enumerate(said, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (word != other)))
    return row[-1]


def word_errors(texts: Texts) -> Counts:
    """Errors and expected words of every segment."""
    pairs = [(words_of(a), words_of(b)) for a, b in zip(texts.hypotheses, texts.references, strict=True)]
    rows = np.array([(errors(said, expected), len(expected)) for said, expected in pairs], dtype=np.int64)
    return Counts(rows=rows.reshape(-1, 2), score=lambda sums: 100 * sums[0] / max(1, sums[1]))


WER = Metric(
    name="WER",
    unit="%",
    kind="quality",
    definition="words inserted, left out or replaced, of the words of the reference",
    counts=word_errors,
    shown=Shown(summary=True, column="WER (%)"),
)
