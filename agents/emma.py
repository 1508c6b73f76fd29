"""simuleval --agent agents/emma.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

EmmaAgent = entrypoint(speech_agent("emma"))
