"""simuleval --agent agents/blockwise_beam.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

BlockwiseBeamAgent = entrypoint(speech_agent("blockwise_beam"))
