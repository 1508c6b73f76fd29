"""The events of a live stream in one target: numbered, kept for those that read them, and summed up for the late."""

import json
from collections import deque
from collections.abc import Mapping, Sequence

from simulst.live.lane import Said
from simulst.live.ledger import Ledger, Message
from simulst.live.protocol import Names
from simulst.sinks.drive import hand
from simulst.sinks.sink import Sink

KEPT_EVENTS = 4096
"""Events held for readers that are behind or reconnect; older ones are summed up in a snapshot."""


class Latest:
    """Messages of which only the last of a kind counts."""

    def __init__(self) -> None:
        self.versions: dict[str, tuple[int, str]] = {}

    def replace(self, message: Message) -> None:
        kind = message["type"]
        self.versions[kind] = (self.versions.get(kind, (0, ""))[0] + 1, dump(message))


class Track:
    """What is said in one target; `target` stands in its messages where the stream has several, else it is ""."""

    def __init__(self, target: str = "") -> None:
        self.target = target
        self.ledger = Ledger()
        self.latest = Latest()
        self.seq = 0
        self.oldest = 1
        self.sinks: Sequence[Sink] = ()
        """What else takes the events."""
        self._events: deque[str] = deque(maxlen=KEPT_EVENTS)
        self._hypothesis = ""
        self._over = False
        """The last event is `end`."""

    def take(self, said: Said, transcript: str) -> list[Message]:
        """Messages that a piece of work makes; `record` is to be called with each."""
        self.ledger.hear(transcript)
        hand([*said.events, said.progress], [self.ledger, *self.sinks])
        return self.ledger.take()

    def close(self) -> None:
        """Nothing more will be said."""
        for sink in self.sinks:
            sink.close()
        self.sinks = ()

    def record(self, message: Message) -> None:
        """Number an event and keep it."""
        self.seq += 1
        self._over = message["type"] == "end"
        self._mark(message)["seq"] = self.seq
        self._events.append(dump(message))
        self.oldest = self.seq - len(self._events) + 1

    def suppose(self, hypothesis: str, audio_s: float) -> None:
        """Show the unstable continuation where it has changed."""
        if hypothesis != self._hypothesis:
            self._hypothesis = hypothesis
            message = Message(type="hypothesis", text=hypothesis, audio_s=round(audio_s, 3))
            self.latest.replace(self._mark(message))

    def since(self, seq: int) -> list[str]:
        """Events after `seq`; everything up to now as one message where they are no longer held."""
        if not self.oldest - 1 <= seq <= self.seq:
            return self._snapshot()
        first = seq + 1 - self.oldest
        return [self._events[i] for i in range(max(0, first), len(self._events))]

    def _snapshot(self) -> list[str]:
        """Everything up to now as one message, and the end after it where that has come."""
        ending = list(self._events)[-1:] if self._over else []
        whole = Message(type="snapshot", seq=self.seq - len(ending), text=self.ledger.text)
        return [dump(self._mark({**whole, "transcript": self.ledger.transcript})), *ending]

    def _mark(self, message: Message) -> Message:
        if self.target:
            message["target"] = self.target
        return message


def switched(names: Names) -> Message:
    """The event after a switch."""
    languages = Message(type="switched", source=names["source"], target=names["target"])
    return {**languages, "model": names["model"], "policy": names["policy"], "chunk_ms": names["chunk_ms"]}


def dump(message: Mapping[str, object]) -> str:
    """The message as it goes over the wire: valid JSON in valid Unicode, whatever a client or model said."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode("utf-8")
