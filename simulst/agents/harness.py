"""The classes of SimulEval that the agents build on; one sentence where SimulEval is not installed."""

from typing import TYPE_CHECKING, ClassVar, Protocol

from simulst.errors import MissingPackageError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    class Action: ...

    class ReadAction(Action): ...

    class WriteAction(Action):
        def __init__(self, content: str, finished: bool) -> None: ...

    class AgentStates:
        source: list[object]
        source_finished: bool
        target_finished: bool
        source_sample_rate: int
        tgt_lang: str | None

        def __init__(self) -> None: ...
        def reset(self) -> None: ...

    class GenericAgent:
        source_type: ClassVar[str]
        states: AgentStates
        device: str

        def __init__(self, args: Namespace | None = None) -> None: ...
        def reset(self) -> None: ...
        def push(self, source_segment: "Segment", states: AgentStates | None = None) -> None: ...
        def pushpop(self, segment: "Segment", states: AgentStates | None = None) -> "Segment": ...

    class SpeechToTextAgent(GenericAgent): ...

    class TextToTextAgent(GenericAgent): ...

    class SpeechToTextDataloader:
        source_list: list[str]

        def __init__(self, source: list[str], target: list[str], tgt_lang: list[str] | None) -> None: ...
        def __getitem__(self, index: int) -> "dict[str, Sequence[float]]": ...

else:
    try:
        from simuleval.agents import AgentStates, GenericAgent, SpeechToTextAgent, TextToTextAgent
        from simuleval.agents.actions import Action, ReadAction, WriteAction
        from simuleval.data.dataloader import SpeechToTextDataloader
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"The agents need SimulEval, and {error.name} is not installed: `pip install --no-deps simuleval==1.1.4`, "
            "then `pip install pandas requests textgrid tornado` (docs/simuleval.md)."
        ) from None

__all__ = [
    "Action",
    "AgentStates",
    "GenericAgent",
    "ReadAction",
    "Segment",
    "SpeechToTextAgent",
    "SpeechToTextDataloader",
    "TextToTextAgent",
    "WriteAction",
]


class Segment(Protocol):
    """What SimulEval sends: samples at a rate, or words."""

    finished: bool
    is_empty: bool
    tgt_lang: object
    sample_rate: int

    @property
    def content(self) -> "list[float] | str": ...
