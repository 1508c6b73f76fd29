"""simuleval --agent agents/consensus.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

ConsensusAgent = entrypoint(speech_agent("consensus"))
