"""JSON lines: one event per line."""

import json
from typing import ClassVar

from simulst.core.events import EndEvent, SinkEvent, WriteEvent
from simulst.sinks.sink import FileSink


class JsonLines(FileSink):
    """What was written and the end; what is only shown for a while is left out."""

    suffix: ClassVar[str] = ".jsonl"

    def handle(self, event: SinkEvent) -> None:
        if isinstance(event, WriteEvent | EndEvent):
            self.write(json.dumps(event.to_json(), ensure_ascii=False) + "\n")
