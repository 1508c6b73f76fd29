"""simuleval --agent agents/joint.py --source LIST --target TEXT ... (docs/simuleval.md)"""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

JointAgent = entrypoint(speech_agent("joint"))
