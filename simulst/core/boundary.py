"""Word boundaries of hypotheses: how far a cut goes without committing half a word."""

from simulst.core.policy import Decision, strip_if_incomplete
from simulst.core.translator import Hypothesis, Vocabulary


def complete(hypothesis: Hypothesis, keep: int, vocabulary: Vocabulary) -> int:
    """How many of the first `keep` new tokens end on a complete word, judged by the token that follows them.

    A mark that only the end of the hypothesis follows waits: models close the sentence wherever the audio stops.
    """
    ids = hypothesis.ids
    if keep < len(ids):
        return strip_if_incomplete(ids[:keep], ids[keep], vocabulary)
    if hypothesis.stop != "eos":
        return strip_if_incomplete(ids, hypothesis.next_id, vocabulary)
    while keep and vocabulary.closes_unit(ids[keep - 1]):
        keep -= 1
    return keep


def opens_word(decision: Decision | None, vocabulary: Vocabulary) -> bool:
    """Whether the token after what was committed begins a new word, as far as the decision's hypothesis tells."""
    if decision is None or decision.hypothesis is None:
        return False
    hypothesis = decision.hypothesis
    if decision.commit < len(hypothesis.ids):
        following: int | None = hypothesis.ids[decision.commit]
    else:
        following = vocabulary.eos if hypothesis.stop == "eos" else hypothesis.next_id
    return following is not None and (following == vocabulary.eos or vocabulary.starts_word(following))


def hold_back(ids: tuple[int, ...], words: int, vocabulary: Vocabulary, *, fresh: bool) -> int:
    """How many tokens of `ids` stand before its last `words` words, whole or begun; 0 where it has no more."""
    starts = word_starts(ids, vocabulary, fresh=fresh)
    return len(ids) if not words else starts[-words] if len(starts) >= words else 0


def count_units(text: str, vocabulary: Vocabulary) -> int:
    """Words of a text, characters in a script without spaces."""
    return len(text.split()) if vocabulary.spaced else sum(not character.isspace() for character in text)


def word_starts(ids: tuple[int, ...], vocabulary: Vocabulary, *, fresh: bool) -> list[int]:
    """Where words (characters in a script without spaces) begin, one entry each; `fresh` when nothing is forced."""
    if vocabulary.spaced:
        starts = [i for i, token in enumerate(ids) if vocabulary.starts_word(token)]
        opens = fresh and ids and not vocabulary.closes_unit(ids[0]) and starts[:1] != [0]
        return [0, *starts] if opens else starts
    lengths = [count_units(vocabulary.decode(ids[:i]).rstrip("\ufffd"), vocabulary) for i in range(len(ids) + 1)]
    return [i for i in range(len(ids)) for _ in range(lengths[i + 1] - lengths[i])]
