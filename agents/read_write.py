"""simuleval --agent agents/read_write.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

ReadWriteAgent = entrypoint(speech_agent("read_write"))
