"""simuleval --agent agents/align_att.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

AlignAttAgent = entrypoint(speech_agent("align_att"))
