"""How much of a translation was anticipated, and how often that was wrong, from what the policy counted."""

from collections import Counter
from collections.abc import Sequence

from simulst.eval.logs.instances import Instance


def anticipation(instances: Sequence[Instance]) -> dict[str, float]:
    """Percent of the words committed while the stream went on that were anticipated, and of these the wrong ones.

    Nothing for logs without such counts; the second only where the policy judged (`taf`, `judge=true`).
    """
    counts: Counter[str] = Counter()
    for instance in instances:
        found = instance.extra.get("counts")
        if isinstance(found, dict):
            counts.update({key: n for key, n in found.items() if isinstance(n, int)})
    scores: dict[str, float] = {}
    if committed := counts["committed_words"]:
        scores["AnticipatedWords"] = 100 * counts["anticipated_words"] / committed
    if (anticipated := counts["anticipated_words"]) and "wrong_anticipated_words" in counts:
        scores["WrongAnticipations"] = 100 * counts["wrong_anticipated_words"] / anticipated
    return scores
