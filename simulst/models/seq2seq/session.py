"""A stream on an encoder-decoder: its decoder attends to the encoding of the kept audio."""

from simulst.core.translator import FloatArray
from simulst.models.seq2seq.decoder_run import DecoderRun
from simulst.models.seq2seq.weights import Seq2SeqWeights
from simulst.models.seq2seq.window_session import WindowSession
from simulst.models.seq2seq.windows import EncodedWindow


class Seq2SeqSession(WindowSession[DecoderRun]):
    """One stream on an encoder-decoder; the file of an architecture may extend it."""

    translator: Seq2SeqWeights

    def _encode(self, samples: FloatArray) -> EncodedWindow:
        return self.translator.compute.encode(samples)

    def _run(self, window: EncodedWindow, *, rows: bool, every_head: bool) -> DecoderRun:
        return DecoderRun(self.translator, window, rows=rows, every_head=every_head)

    def _prompt(self, window: EncodedWindow) -> tuple[int, ...]:
        return self.translator.prompt()
