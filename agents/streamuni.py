"""simuleval --agent agents/streamuni.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

StreamuniAgent = entrypoint(speech_agent("streamuni"))
