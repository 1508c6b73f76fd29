"""Models and policies inside the Python harness of simulstream (FBK; IWSLT's simultaneous track), without a server.

The harness makes the class that its `processor.yaml` names, once the module can be imported:

    type: simulst.live.processor.SimulstProcessor
    model: tiny-en-de
    policy: stream_att
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from simulstream.server.speech_processors import SpeechProcessor
from simulstream.server.speech_processors.incremental_output import IncrementalOutput

from simulst.core.events import Event
from simulst.core.glossary import read_glossary
from simulst.core.settings import read
from simulst.defaults import DEFAULT_BOOST, DEFAULT_MODEL, DEFAULT_POLICY
from simulst.errors import DataError
from simulst.live.catalogue import Catalogue, load_catalogue
from simulst.live.simulstream import Stream

if TYPE_CHECKING:
    from simulst.core.translator import FloatArray


@dataclass(frozen=True, kw_only=True)
class ProcessorConfig:
    """What `processor.yaml` may hold besides `type`."""

    model: str = DEFAULT_MODEL
    policy: str = DEFAULT_POLICY
    set: tuple[str, ...] = ()
    """KEY=VALUE of the policy, of its history or of the model, as `--set` takes them."""
    chunk_ms: int | None = None
    device: str = "cpu"
    dtype: str | None = None
    glossary: str | None = None
    """A file of terms, `source<TAB>target` on each line."""
    glossary_boost: float = DEFAULT_BOOST


class SimulstProcessor:
    """One stream at a time: tokens are words with the blank before them, joined they are the text of
    `simulst translate`. Raises SimulstError for a configuration or a language that cannot be used."""

    _loaded: tuple[ProcessorConfig, Catalogue] | None = None

    def __init__(self, config: SimpleNamespace) -> None:
        self.config = config
        self._catalogue = self._load(config)
        self._stream = Stream()

    @classmethod
    def load_model(cls, config: SimpleNamespace) -> None:
        """Load what the configuration names, once for all processors of it."""
        cls._load(config)

    @classmethod
    def _load(cls, config: SimpleNamespace) -> Catalogue:
        values = {key: value for key, value in vars(config).items() if key != "type"}
        asked = read(ProcessorConfig, values, "processor.yaml", DataError)
        if cls._loaded is None or cls._loaded[0] != asked:
            terms = read_glossary(Path(asked.glossary), boost=asked.glossary_boost) if asked.glossary else None
            cls._loaded = asked, load_catalogue(
                asked.model, policy=asked.policy, settings=asked.set, chunk_ms=asked.chunk_ms, device=asked.device,
                dtype=asked.dtype, glossary=terms,
            )  # fmt: skip
        return cls._loaded[1]

    @property
    def speech_chunk_size(self) -> float:
        """Audio of a decision, seconds."""
        return self._stream.opened(self._catalogue).chunk_ms / 1000

    def set_source_language(self, language: str) -> None:
        self._stream.want(replace(self._stream.wanted, source=language))

    def set_target_language(self, language: str) -> None:
        self._stream.want(replace(self._stream.wanted, target=language))

    def process_chunk(self, waveform: "FloatArray") -> IncrementalOutput:
        """Take 16 kHz mono samples in [-1, 1]; what was written and taken back."""
        return self._output(self._stream.opened(self._catalogue).feed(np.asarray(waveform, np.float32)))

    def end_of_stream(self) -> IncrementalOutput:
        """What is still to be written."""
        return self._output(self._stream.opened(self._catalogue).finish())

    def tokens_to_string(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)

    def clear(self) -> None:
        """Begin another stream in the same languages."""
        self._stream = Stream(wanted=self._stream.wanted)

    def _output(self, events: Sequence[Event]) -> IncrementalOutput:
        return IncrementalOutput(**self._stream.tokens.take(events))


SpeechProcessor.register(SimulstProcessor)
