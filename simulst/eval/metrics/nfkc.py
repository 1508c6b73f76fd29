"""OmniSTEval's extra rows: quality of NFKC text, where normalising changes anything."""

import unicodedata
from dataclasses import replace

from simulst.eval.metrics.metric import Texts
from simulst.eval.segment.profiles import Profile


def for_nfkc(profile: Profile) -> bool:
    return profile.name == "omnisteval"


def normalised(texts: Texts) -> Texts | None:
    """None where that changes nothing."""
    hypotheses, references = (
        [unicodedata.normalize("NFKC", text) for text in lines] for lines in (texts.hypotheses, texts.references)
    )
    if hypotheses == list(texts.hypotheses) and references == list(texts.references):
        return None
    return replace(texts, hypotheses=hypotheses, references=references)
