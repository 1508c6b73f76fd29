"""How much of a translation was anticipated, and how often that was wrong, from what the policy counted."""

from collections import Counter
from collections.abc import Sequence

from simulst.eval.logs.instances import Instance
from simulst.eval.metrics.metric import Corpus, Metric, Shown


def _counted(instances: Sequence[Instance]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for instance in instances:
        found = instance.extra.get("counts")
        if isinstance(found, dict):
            counts.update({key: n for key, n in found.items() if isinstance(n, int)})
    return counts


def _anticipated(run: Corpus) -> float | None:
    counts = _counted(run.instances)
    committed = counts["committed_words"]
    return 100 * counts["anticipated_words"] / committed if committed else None


def _wrong(run: Corpus) -> float | None:
    counts = _counted(run.instances)
    anticipated = counts["anticipated_words"]
    if not anticipated or "wrong_anticipated_words" not in counts:
        return None
    return 100 * counts["wrong_anticipated_words"] / anticipated


ANTICIPATED_WORDS = Metric(
    name="AnticipatedWords",
    unit="%",
    kind="run",
    definition="of the words committed while the stream went on, those that were anticipated, where the log counts "
    "them",
    corpus=_anticipated,
)
WRONG_ANTICIPATIONS = Metric(
    name="WrongAnticipations",
    unit="%",
    kind="run",
    definition="of the anticipated words the wrong ones, where the policy judged (`taf`, `judge=true`)",
    corpus=_wrong,
    shown=Shown(column="wrong anticipations (%)"),
)
