"""Translators over Hugging Face encoder-decoders.

What differs between architectures (encoder, prompt, vocabulary) stands in `whisper.py`, `moonshine.py`, `seamless.py`
and `speech2text.py`, what streams share in `weights.py`, a stream in `session.py`, the decoder's caches in
`decoder_run.py`.
"""

from pathlib import Path

from simulst.core.translator import DECODING, Evidence
from simulst.models.seq2seq.session import Seq2SeqSession
from simulst.models.seq2seq.weights import Seq2SeqOptions, Seq2SeqWeights


class Seq2SeqTranslator(Seq2SeqWeights):
    """An encoder-decoder that opens streams; the file of an architecture extends it."""

    def open(self) -> Seq2SeqSession:
        return Seq2SeqSession(self)


def decoding(directory: Path, options: Seq2SeqOptions) -> frozenset[Evidence]:
    """What every encoder-decoder provides."""
    return DECODING
