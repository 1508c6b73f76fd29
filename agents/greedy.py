"""simuleval --agent agents/greedy.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

GreedyAgent = entrypoint(speech_agent("greedy"))
