"""simuleval --agent agents/taf_text.py --source TEXT --target TEXT: word by word (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import text_agent

TafTextAgent = entrypoint(text_agent("taf"))
