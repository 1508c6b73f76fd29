"""simuleval --agent agents/local_agreement.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

LocalAgreementAgent = entrypoint(speech_agent("local_agreement"))
