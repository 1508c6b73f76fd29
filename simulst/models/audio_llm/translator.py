"""Speech LLMs of the hub: audio is put into a prompt as embeddings, the language model writes after it.

What differs between them (encoder, prompt) stands in `qwen2_audio.py`, `voxtral.py` and `granite_speech.py`.
"""

from pathlib import Path
from typing import Any

from simulst.core.translator import DECODING, Evidence
from simulst.models.audio_llm.encoder import AudioEncoder
from simulst.models.audio_llm.options import Options
from simulst.models.audio_llm.prompts import AudioPrompt
from simulst.models.audio_llm.session import AudioLLMSession
from simulst.models.audio_llm.weights import AudioLLMWeights
from simulst.models.text.languages import is_spaced
from simulst.models.text.local import ends_of, read_pieces
from simulst.models.vocabulary import PieceVocabulary


class AudioLLM(AudioLLMWeights):
    """A speech LLM that opens streams."""

    def open(self) -> AudioLLMSession:
        return AudioLLMSession(self)


def assemble(
    directory: Path,
    options: Options,
    *,
    name: str,
    model: Any,
    tokenizer: Any,
    encoder: AudioEncoder,
    prompts: tuple[AudioPrompt, AudioPrompt | None],
    max_source_s: float,
    scale: float = 1.0,
) -> AudioLLM:
    """A translator of what a family has read; `prompts` are that of the task and that of the transcript."""
    pieces, special = read_pieces(tokenizer, directory)
    ends = ends_of(model, tokenizer, name)
    spaced = options.task == "transcribe" or is_spaced(options.target)
    return AudioLLM(
        name=name,
        directory=directory,
        model=model,
        encoder=encoder,
        vocabulary=PieceVocabulary(pieces, eos=min(ends), special=special, spaced=spaced),
        options=options,
        prompts=prompts[0],
        transcript=prompts[1],
        ends=ends,
        scale=scale,
        max_source_s=max_source_s,
        positions=int(model.get_decoder().config.max_position_embeddings),
    )


def provides(directory: Path, options: Options) -> frozenset[Evidence]:
    """What every speech LLM provides."""
    return DECODING
