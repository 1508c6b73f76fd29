"""simuleval --agent agents/edatt.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

EdattAgent = entrypoint(speech_agent("edatt"))
