"""The classes of SimulEval that the agents build on; one sentence where SimulEval is not installed."""

from simulst.errors import MissingPackageError

try:
    from simuleval.agents import AgentStates as AgentStates
    from simuleval.agents import SpeechToTextAgent as SpeechToTextAgent
    from simuleval.agents import TextToTextAgent as TextToTextAgent
    from simuleval.agents.actions import Action as Action
    from simuleval.agents.actions import ReadAction as ReadAction
    from simuleval.agents.actions import WriteAction as WriteAction
    from simuleval.data.dataloader import SpeechToTextDataloader as SpeechToTextDataloader
except ModuleNotFoundError as error:
    raise MissingPackageError(
        f"The agents need SimulEval, and {error.name} is not installed: `pip install --no-deps simuleval==1.1.4`, then "
        "`pip install pandas requests textgrid tornado` (docs/simuleval.md)."
    ) from None
