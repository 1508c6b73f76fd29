"""The joint SentencePiece vocabulary, with every mark that later tasks need reserved from the start."""

import io
from collections.abc import Iterable
from pathlib import Path

from simulst.errors import DataError
from simulst.plugins import brief

READ_WRITE = ("<read>", "<write>")
LATENCY_TAGS = ("<low>", "<low-medium>", "<medium>", "<medium-high>", "<high>")
SPARE = tuple(f"<spare{n}>" for n in range(16))


def language_mark(code: str) -> str:
    """The mark that asks for a language."""
    return f"<{code}>"


def marks(source: str, target: str) -> list[str]:
    """All marks of a vocabulary for two languages, in the order of their ids."""
    return ["<sp>", language_mark(source), language_mark(target), "<blank>", *READ_WRITE, *LATENCY_TAGS, *SPARE]


def train_vocabulary(
    sentences: Iterable[str], path: Path, size: int = 8000, *, source: str = "en", target: str = "de"
) -> None:
    """Train BPE with byte fallback on both languages and write `path` (a `.model` file)."""
    import sentencepiece

    path.parent.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()  # a model that is written to a file tells everybody where that was
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            vocab_size=size,
            model_type="bpe",
            byte_fallback=True,
            character_coverage=0.9999,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            control_symbols=marks(source, target),
            normalization_rule_name="nmt_nfkc",
            minloglevel=2,
        )
    except RuntimeError as problem:
        advice = "choose another vocabulary_size, or give more text"
        raise DataError(f"A vocabulary of {size} pieces cannot be made; {advice} ({brief(problem)}).") from problem
    path.write_bytes(model.getvalue())
