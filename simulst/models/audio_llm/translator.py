"""Speech LLMs of the hub: audio is put into a prompt as embeddings, the language model writes after it.

What differs between them (encoder, prompt) stands in `qwen2_audio.py`, `voxtral.py`, `granite_speech.py` and
`phi4_multimodal.py`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from simulst.core.translator import DECODING, Evidence
from simulst.models.audio_llm.encoder import AudioEncoder
from simulst.models.audio_llm.options import Options
from simulst.models.audio_llm.prompts import AudioPrompt, task_and_transcript
from simulst.models.audio_llm.session import AudioLLMSession
from simulst.models.audio_llm.weights import AudioLLMWeights
from simulst.models.checkpoint import load_pretrained
from simulst.models.recorded import ROWS, register
from simulst.models.text.languages import is_spaced
from simulst.models.text.local import ends_of, read_pieces
from simulst.models.vocabulary import PieceVocabulary

OptionsT = TypeVar("OptionsT", bound=Options)


class AudioLLM(AudioLLMWeights):
    """A speech LLM that opens streams."""

    def open(self) -> AudioLLMSession:
        return AudioLLMSession(self)


def read_audio_llm(
    kind: Any,
    directory: Path,
    options: OptionsT,
    *,
    name: str,
    device: str,
    dtype: str | None,
    tokenizer: Any,
    read_prompt: Callable[[Any, OptionsT, str], AudioPrompt],
    window: Callable[[Any], AudioEncoder],
    max_source_s: float,
    scale: Callable[[Any], float] = lambda config: 1.0,
    adapter: Path | None = None,
    positions: Callable[[Any], int] = lambda config: int(config.max_position_embeddings),
) -> AudioLLM:
    """A checkpoint of class `kind`; `window` is made of the model, `scale` and `positions` of its decoder's config.

    Raises ModelError with one sentence for anything unusable.
    """
    register()
    prompts = task_and_transcript(lambda one: read_prompt(tokenizer, one, name), options)
    model = load_pretrained(
        kind, directory, device=device, dtype=dtype, attention=ROWS, int8=True, quantised=True, adapter=adapter
    )
    pieces, special = read_pieces(tokenizer, directory)
    ends = ends_of(model, tokenizer, name)
    spaced = options.task == "transcribe" or is_spaced(options.target)
    config = model.get_decoder().config
    return AudioLLM(
        name=name,
        directory=directory,
        model=model,
        encoder=window(model),
        vocabulary=PieceVocabulary(pieces, eos=min(ends), special=special, spaced=spaced),
        options=options,
        prompts=prompts[0],
        transcript=prompts[1],
        ends=ends,
        scale=scale(config),
        max_source_s=max_source_s,
        positions=positions(config),
    )


def provides(directory: Path, options: Options) -> frozenset[Evidence]:
    """What every speech LLM provides."""
    return DECODING
