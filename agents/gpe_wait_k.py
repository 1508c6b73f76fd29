"""simuleval --agent agents/gpe_wait_k.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

GpeWaitKAgent = entrypoint(speech_agent("gpe_wait_k"))
