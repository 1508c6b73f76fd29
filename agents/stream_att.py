"""simuleval --agent agents/stream_att.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

StreamAttAgent = entrypoint(speech_agent("stream_att"))
