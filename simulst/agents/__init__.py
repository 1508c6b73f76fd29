"""SimulEval agents: every policy under the unmodified command line of SimulEval 1.1.4.

`simuleval --agent agents/stream_att.py ...` or `--agent-class simulst.agents.StreamAttAgent`; the text-to-text agents
are `WaitKTextAgent` and so on. Needs the package simuleval.
"""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulst.agents.dataloader import LazySpeech as LazySpeech
    from simulst.agents.speech import SpeechAgent
    from simulst.agents.text import TextAgent

TEXT_POLICIES = ("wait_k", "local_agreement", "ralcp", "taf")
"""Policies that make sense when the source comes as text, word by word."""


@cache
def speech_agent(policy: str) -> "type[SpeechAgent]":
    """The speech-to-text agent of a registered policy, for an entry file's `entrypoint`."""
    from simulst.agents.speech import SpeechAgent

    return type(_camel(policy) + "Agent", (SpeechAgent,), _body(policy))


@cache
def text_agent(policy: str) -> "type[TextAgent]":
    """The text-to-text agent of one of TEXT_POLICIES."""
    from simulst.agents.text import TextAgent

    return type(_camel(policy) + "TextAgent", (TextAgent,), _body(policy))


def agent_names() -> dict[str, str]:
    """Class names that `--agent-class simulst.agents.NAME` takes, and the policy of each."""
    from simulst.policies import POLICIES

    speech = {_camel(policy) + "Agent": policy for policy in POLICIES}
    return speech | {_camel(policy) + "TextAgent": policy for policy in TEXT_POLICIES}


def __getattr__(name: str) -> type:
    if name == "LazySpeech":
        from simulst.agents.dataloader import LazySpeech

        return LazySpeech
    policy = agent_names().get(name) if name.endswith("Agent") else None
    if policy is None:
        raise AttributeError(f"module 'simulst.agents' has no attribute {name!r}")
    return text_agent(policy) if name.endswith("TextAgent") else speech_agent(policy)


def _camel(policy: str) -> str:
    return "".join(part.capitalize() for part in policy.split("_"))


def _body(policy: str) -> dict[str, object]:
    return {"policy_name": policy, "__module__": __name__}
