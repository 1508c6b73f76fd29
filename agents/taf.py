"""simuleval --agent agents/taf.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

TafAgent = entrypoint(speech_agent("taf"))
