"""An agent as SimulEval's examples write them, with a policy that looks at nothing but the length of the source."""

from simuleval.agents import SpeechToTextAgent
from simuleval.agents.actions import Action, ReadAction, WriteAction
from simuleval.utils import entrypoint


@entrypoint
class Wait3(SpeechToTextAgent):  # type: ignore[misc]
    def policy(self) -> Action:
        """One word per segment after the third."""
        states = self.states
        if states.source_finished:
            return WriteAction("word", finished=True)
        seconds = len(states.source) / max(1, states.source_sample_rate)
        return ReadAction() if seconds < 1 else WriteAction("word", finished=False)
