"""Moses tokens for the soft alignment, as OmniSTEval's --lang makes them."""

from collections.abc import Callable

from simulst.errors import DataError


def moses_tokeniser(lang: str) -> Callable[[str], list[str]]:
    """A function from one word to its tokens (hyphens split, nothing escaped); words of zh and ja stay whole.

    DataError when no language is given or sacremoses is not installed.
    """
    if not lang:
        raise DataError("Moses tokens need a language; give --lang.")
    if lang in ("zh", "ja"):
        return lambda text: [text]
    try:
        from sacremoses import MosesTokenizer
    except ImportError:
        raise DataError("Moses tokens need the package sacremoses; run `pip install sacremoses`.") from None
    tokenizer = MosesTokenizer(lang=lang)

    def tokenise(text: str) -> list[str]:
        tokens: list[str] = tokenizer.tokenize(text, aggressive_dash_splits=True, escape=False)
        return tokens

    return tokenise
