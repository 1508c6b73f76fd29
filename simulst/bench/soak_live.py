"""`simulst bench soak --live`: one server, and clients that come, go, break and reconnect for hours of audio."""

import asyncio
import json
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, TypedDict
from urllib.request import urlopen

import psutil
from websockets.exceptions import WebSocketException

from simulst.bench.live import common_words, serving
from simulst.bench.soak_marks import Marks, Report
from simulst.bench.soak_visit import BUSY_S, WAYS, Refused, Visit
from simulst.errors import SimulstError

if TYPE_CHECKING:
    from simulst.core.translator import FloatArray, Translator
    from simulst.policies import LoadedPolicy

PIECES = 6
"""Different parts of the talk that clients say."""
PLACES_PER_CLIENT = 3
"""Places of the server for each client at a time: a stream that broke keeps its own for a while."""
LEAVING_S = 30.0
"""Time that the places of vanished clients have to be given back."""
SETTLING_S = 1.5
"""The server gives memory back within a second of its last stream's end."""
SEED = 1


class CrowdTotals(TypedDict):
    """Of all clients together."""

    audio_hours: float
    words: int
    words_lost: int
    same_text: int
    visits: dict[str, int]
    resumed: int
    refused: int


class CrowdResult(CrowdTotals):
    """What `run_live` finds besides its marks."""

    interrupted: bool
    clients: int
    left: dict[str, int] | None


def run_live(
    model: "Translator",
    policy: "LoadedPolicy",
    server: list[str],
    talk: "FloatArray",
    hours: float,
    clients: int,
    report: Report,
) -> tuple[Marks, CrowdResult]:
    """`server` are arguments of `simulst live`; words are compared with those of a session in this process."""
    pieces = _pieces(talk)
    expected = [_translated(model, policy, piece) for piece in pieces]
    with serving([*server, "--max-clients", str(PLACES_PER_CLIENT * clients)]) as (address, process):
        crowd = Crowd(address, pieces, expected, psutil.Process(process.pid))
        asyncio.run(crowd.warm())
        before = crowd.state()
        marks = crowd.marks = Marks(3_600 * hours, crowd.server, crowd.cpu_s, report)
        interrupted = False
        try:
            asyncio.run(crowd.gather(clients))
        except KeyboardInterrupt:
            interrupted = True
        left = None if interrupted else crowd.left(before)
    return marks, {"interrupted": interrupted, "clients": clients, **crowd.totals(), "left": left}


def _pieces(talk: "FloatArray") -> list["FloatArray"]:
    """Overlapping parts of 3/12 to 8/12 of the talk."""
    part = len(talk) // 12
    return [talk[part * i : part * (2 * i + 3)] if i < 5 else talk[4 * part :] for i in range(PIECES)]


def _translated(model: "Translator", policy: "LoadedPolicy", audio: "FloatArray") -> str:
    """What `simulst translate` says about it."""
    from simulst.core.session import Session

    session = Session(model, policy)
    session.feed(audio)
    session.finish()
    return session.text


class Crowd:
    """Clients of one server; figures go to `marks`."""

    marks: Marks

    def __init__(self, address: str, pieces: list["FloatArray"], expected: list[str], server: psutil.Process) -> None:
        self.server = server
        self._address = address
        self._pieces = pieces
        self._expected = expected
        self._decided_s = 0.0
        self._visits: Counter[str] = Counter()
        self._words = self._words_lost = self._resumed = self._refused = self._same = 0

    def cpu_s(self) -> float:
        """CPU time of the server."""
        times = self.server.cpu_times()
        return float(times.user + times.system)

    def state(self) -> tuple[int, int]:
        """Open files and threads of the server."""
        return self.server.num_fds(), self.server.num_threads()

    async def warm(self) -> None:
        """One stream, so that what the server keeps from its first client on is there."""
        nothing = random.Random(SEED)
        await Visit(self._address, self._pieces[0], "stays", nothing, lambda _: None, lambda _: None).run()

    async def gather(self, clients: int) -> None:
        """Clients, each with one stream after another, until all audio has been said.

        At a mark they let their streams end, and the server is looked at when it has none: with a crowd of another size
        and age at every mark its memory would tell of them.
        """
        seats = [random.Random(SEED + seat) for seat in range(clients)]
        try:
            while not self.marks.complete:
                await asyncio.gather(*map(self._keep_coming, seats))
                await asyncio.to_thread(self._emptied)
                self.marks.make(self._decided_s)
        except (OSError, WebSocketException) as error:
            raise SimulstError(f"The server no longer answers: {error}.") from None

    async def _keep_coming(self, chance: random.Random) -> None:
        while not self.marks.due(self._decided_s):
            number, way = chance.randrange(PIECES), chance.choice(WAYS)
            visit = Visit(self._address, self._pieces[number], way, chance, self._progress, self._lag)
            try:
                await visit.run()
            except Refused as refusal:
                if refusal.code != "busy":
                    raise
                self._refused += 1
                await asyncio.sleep(BUSY_S)
                continue
            self._judge(visit, self._expected[number])

    def _progress(self, seconds: float) -> None:
        self._decided_s += seconds

    def _lag(self, seconds: float) -> None:
        self.marks.now.lags_s.append(seconds)

    def _judge(self, visit: Visit, expected: str) -> None:
        """Count a visit and the words that did not come; of those who left early, words before their last one."""
        self._visits[visit.way] += 1
        self._resumed += visit.resumed
        heard, words = visit.text.split(), expected.split()
        if not visit.ended:
            heard = heard[:-1]
            words = heard if visit.retracts else words[: len(heard)]
        else:
            self._same += visit.text == expected
        lost = 0 if heard == words else len(words) - common_words(words, heard)
        self._words += len(words)
        self._words_lost += lost
        self.marks.now.words += len(words)
        self.marks.now.words_lost += lost

    def left(self, before: tuple[int, int]) -> dict[str, int]:
        """What the server still holds once everybody has gone."""
        places = self._emptied()
        files, threads = self.state()
        return {"files": files - before[0], "threads": threads - before[1], "places": places}

    def _emptied(self) -> int:
        """Wait for the places of those who have gone, and for what is done then; how many are still taken."""
        until = time.monotonic() + LEAVING_S
        while (places := self._places()) and time.monotonic() < until:
            time.sleep(0.5)
        time.sleep(SETTLING_S)
        return places

    def _places(self) -> int:
        with urlopen(self._address.replace("ws", "http", 1).removesuffix("/ws") + "/health") as answer:
            return int(json.loads(answer.read())["clients"])

    def totals(self) -> CrowdTotals:
        """Of all clients together."""
        return {
            "audio_hours": round(self._decided_s / 3_600, 4),
            "words": self._words,
            "words_lost": self._words_lost,
            "same_text": self._same,
            "visits": dict(self._visits),
            "resumed": self._resumed,
            "refused": self._refused,
        }
