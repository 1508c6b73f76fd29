"""simulst's own agent under wait-k, run with `--model simulst/bench/null.py:NULL`."""

from simuleval.utils import entrypoint

from simulst.agents import speech_agent

NullAgent = entrypoint(speech_agent("wait_k"))
