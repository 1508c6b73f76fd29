"""simulst's own agent on the null model."""

from simuleval.utils import entrypoint

import simulst.models
from simulst.agents import speech_agent
from simulst.bench.null import NullTranslator

simulst.models.load_model = lambda *_args, **_options: NullTranslator()
NullAgent = entrypoint(speech_agent("wait_k"))
