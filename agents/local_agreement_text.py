"""simuleval --agent agents/local_agreement_text.py --source TEXT --target TEXT: word by word (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import text_agent

LocalAgreementTextAgent = entrypoint(text_agent("local_agreement"))
