"""simuleval --agent agents/retranslation.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

RetranslationAgent = entrypoint(speech_agent("retranslation"))
