"""simuleval --agent agents/ralcp_text.py --source TEXT --target TEXT: word by word (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import text_agent

RalcpTextAgent = entrypoint(text_agent("ralcp"))
