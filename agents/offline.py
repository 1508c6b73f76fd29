"""simuleval --agent agents/offline.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

OfflineAgent = entrypoint(speech_agent("offline"))
