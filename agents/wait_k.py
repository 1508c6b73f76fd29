"""simuleval --agent agents/wait_k.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

WaitKAgent = entrypoint(speech_agent("wait_k"))
