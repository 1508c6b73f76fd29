"""simuleval --agent agents/infinite.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

InfiniteAgent = entrypoint(speech_agent("infinite"))
