"""A stream on a speech LLM: kept audio, what of it is encoded already, and the prompt that was computed last."""

from simulst.models.audio_llm.encoder import Block
from simulst.models.audio_llm.run import AudioRun, PromptCache
from simulst.models.audio_llm.weights import AudioLLMWeights
from simulst.models.seq2seq.window_session import WindowSession
from simulst.models.seq2seq.windows import EncodedWindow


class AudioLLMSession(WindowSession[AudioRun]):
    """One stream, whose caches are its own."""

    translator: AudioLLMWeights

    def __init__(self, translator: AudioLLMWeights) -> None:
        super().__init__(translator)
        self._blocks: list[Block] = []
        self.prompt_cache = PromptCache()

    def _encoded(self, prefix: tuple[int, ...] = ()) -> EncodedWindow | None:
        encoder = self.translator.encoder
        if self._window is None and self._source.valid >= encoder.min_samples:
            self._window = encoder.encode(self._source.read(), self._blocks)
        return self._window

    def _run(self, window: EncodedWindow, *, rows: bool, every_head: bool) -> AudioRun:
        return AudioRun(self.translator, window, self.prompt_cache, rows=rows, every_head=every_head)

    def _prompt(self, window: EncodedWindow) -> tuple[int, ...]:
        return self.translator.prompts.ids(window.states.shape[1])

    def _transcript_prompt(self, window: EncodedWindow) -> tuple[int, ...] | None:
        prompt = self.translator.transcript
        return None if prompt is None else prompt.ids(window.states.shape[1])
