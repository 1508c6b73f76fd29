"""The joint SentencePiece vocabulary, with every mark that later tasks need reserved from the start."""

import io
from collections.abc import Iterable
from pathlib import Path

TASK_TAGS = ("<sp>", "<en>", "<de>", "<blank>")
READ_WRITE = ("<read>", "<write>")
LATENCY_TAGS = ("<low>", "<low-medium>", "<medium>", "<medium-high>", "<high>")
SPARE = tuple(f"<spare{n}>" for n in range(16))
MARKS = (*TASK_TAGS, *READ_WRITE, *LATENCY_TAGS, *SPARE)


def train_vocabulary(sentences: Iterable[str], path: Path, size: int = 8000) -> None:
    """Train BPE with byte fallback on both languages and write `path` (a `.model` file)."""
    import sentencepiece

    path.parent.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()  # a model that is written to a file tells everybody where that was
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
        control_symbols=list(MARKS),
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
