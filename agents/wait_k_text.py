"""simuleval --agent agents/wait_k_text.py --source TEXT --target TEXT: word by word (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import text_agent

WaitKTextAgent = entrypoint(text_agent("wait_k"))
