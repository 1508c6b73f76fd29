"""simuleval --agent agents/confidence.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

ConfidenceAgent = entrypoint(speech_agent("confidence"))
