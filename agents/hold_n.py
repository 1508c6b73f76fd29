"""simuleval --agent agents/hold_n.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

HoldNAgent = entrypoint(speech_agent("hold_n"))
