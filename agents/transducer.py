"""simuleval --agent agents/transducer.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

TransducerAgent = entrypoint(speech_agent("transducer"))
