"""simuleval --agent agents/ralcp.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

RalcpAgent = entrypoint(speech_agent("ralcp"))
