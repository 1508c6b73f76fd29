"""`simulst bench soak`: hours of audio through one session, or through a server whose clients come, go and break."""

import os
import signal
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from simulst.bench.stream import speech
from simulst.cli import options
from simulst.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulst.bench.soak_live import CrowdResult
    from simulst.bench.soak_marks import Marks, Report
    from simulst.core.events import Event
    from simulst.core.session import Session
    from simulst.core.translator import FloatArray, Translator
    from simulst.policies import LoadedPolicy

TALK_S = 120.0
"""Speech that is repeated."""


def soak(
    hours: Annotated[float, typer.Option(min=0.005, help="Audio in all.", metavar="H")] = 10.0,
    live: Annotated[
        bool, typer.Option("--live", help="Through the socket of a server, many clients at a time.")
    ] = False,
    clients: Annotated[int, typer.Option(min=1, help="Clients at a time with --live.", metavar="N")] = 8,
    policy: options.Policy = options.DEFAULT_POLICY,
    model: options.Model = options.DEFAULT_MODEL,
    set_: options.Set = None,
    chunk_ms: options.ChunkMs = None,
    audio: Annotated[Path | None, typer.Option(help="Speech that is repeated.", metavar="FILE")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.", metavar="N")] = 1,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json_: options.Json = False,
) -> None:
    """Hours of audio, faster than real time: memory, CPU, lag, words, files and threads at every half hour, and slopes.

    Ctrl-C ends the run early and prints what it has. With --live H counts the audio of all clients together.
    """
    import torch

    from simulst.bench.soak_marks import dump, printer
    from simulst.chosen import load_policy_with, read_settings
    from simulst.models import load_model

    torch.set_num_threads(threads)
    settings = read_settings(set_ or [], policy=policy, model=model)
    loaded = load_policy_with(policy, settings, chunk_ms)
    translator, talk = load_model(model, device=device, dtype=dtype, **settings.model), speech(audio, TALK_S)
    found: dict[str, object] = {"model": model, "policy": policy, "hours": hours, "live": live}
    found["load_before"] = round(os.getloadavg()[0], 1)
    if live:
        from simulst.bench.soak_live import run_live

        server = ["--model", model, "--policy", policy, *(f"--set={pair}" for pair in set_ or [])]
        server += ["--device", device, *(["--dtype", dtype] if dtype else [])]
        server += [f"--chunk-ms={chunk_ms}"] if chunk_ms else []
        marks, crowd = run_live(translator, loaded, server, talk, hours, clients, printer(json_))
        print(dump({**found, **crowd}, marks) if json_ else "\n".join(_lines(crowd, marks)))
    else:
        marks, result = run_session(translator, loaded, talk, hours, printer(json_))
        print(dump({**found, **result}, marks) if json_ else "\n".join(_lines(result, marks)))


class Totals(TypedDict):
    """Of the whole stream."""

    words: int
    words_lost: int
    silent_s_max: float
    forced: int
    not_finite: int
    compute_rtf: float


class SessionResult(Totals):
    """What `run_session` finds besides its marks."""

    interrupted: bool
    audio_hours: float
    left: dict[str, int]


def run_session(
    model: "Translator", policy: "LoadedPolicy", talk: "FloatArray", hours: float, report: "Report"
) -> "tuple[Marks, SessionResult]":
    """One session from beginning to end, a chunk at a time; `talk` is 16 kHz speech of at least one chunk."""
    import psutil

    from simulst.bench.soak_marks import Marks
    from simulst.core.session import Session

    chunk = round(Session(model, policy).chunk_ms * 16)
    if len(talk) < chunk:
        raise DataError("The speech of --audio is shorter than one chunk.")
    pieces = [talk[at : at + chunk] for at in range(0, len(talk) - chunk + 1, chunk)]
    warm = Session(model, policy)
    for piece in pieces[: 1 + 160_000 // chunk]:  # threads and files that the libraries keep are there from now on
        warm.feed(piece)
    warm.finish()
    process = psutil.Process()
    before = process.num_fds(), process.num_threads()
    ear = _Ear(Session(model, policy))
    marks = Marks(3_600 * hours, process, lambda: ear.cpu_s, report)
    interrupted = _hear_all(ear, pieces, marks)
    totals, audio_hours = ear.totals(), round(ear.session.audio_s / 3_600, 4)
    del ear.session
    left = {"files": process.num_fds() - before[0], "threads": process.num_threads() - before[1]}
    return marks, {"interrupted": interrupted, "audio_hours": audio_hours, **totals, "left": left}


def _hear_all(ear: "_Ear", pieces: "list[FloatArray]", marks: "Marks") -> bool:
    """Feed the pieces over and over until the marks are complete; True where Ctrl-C came first."""
    number = 0
    with _signals() as came:
        while not marks.complete:
            if came:
                ear.check(marks)
                return True
            ear.hear(pieces[number % len(pieces)], marks)
            number += 1
            if marks.due(ear.session.audio_s):
                ear.check(marks)
                marks.make(ear.session.audio_s)
        ear.finish(marks)
    return False


@contextmanager
def _signals() -> "Iterator[list[int]]":
    """Ctrl-C and SIGTERM that came; they do not break off a chunk, whose words would then count as lost."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    old = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _Ear:
    """Feeds a session and puts together what its events say, as a reader of them would."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.cpu_s = 0.0
        self.silent_s = 0.0
        """Longest stretch of audio without a word."""
        self._spoke_s = 0.0
        self._pieces: list[str] = []
        """What the events said after the first `_checked` characters of the session's text."""
        self._checked = self._words_checked = self._bytes_checked = 0
        self._words = self._words_lost = 0

    def hear(self, samples: "FloatArray", marks: "Marks") -> None:
        began = time.process_time()
        events = self.session.feed(samples)
        self.cpu_s += time.process_time() - began
        self._take(events, marks)

    def finish(self, marks: "Marks") -> None:
        """End the stream; what it still says is compared as well."""
        self._take(self.session.finish(), marks)
        self.check(marks)

    def _take(self, events: "list[Event]", marks: "Marks") -> None:
        from simulst.core.events import WriteEvent

        for event in events:
            if isinstance(event, WriteEvent):
                self._retract(event.retract)
                self._pieces.append(event.text)
                marks.now.lags_s.append(self.session.lag)
                self._spoke_s = event.audio_s
        self.silent_s = max(self.silent_s, self.session.audio_s - self._spoke_s)

    def _retract(self, characters: int) -> None:
        while characters and self._pieces:
            last = self._pieces.pop()
            kept = last[: max(0, len(last) - characters)]
            characters -= len(last) - len(kept)
            if kept:
                self._pieces.append(kept)

    def check(self, marks: "Marks") -> None:
        """Count the words since the last mark, and those of the session that its events did not say.

        What nothing can take back is not looked at again, so that this costs the same at any time of the stream.
        """
        fresh, heard = self.session.text_from(self._checked), "".join(self._pieces)
        lost = (Counter(fresh.split()) - Counter(heard.split())).total()
        words = self._words_checked + len(fresh.split())
        marks.now.words_lost += lost
        marks.now.words += words - self._words
        self._words_lost, self._words = self._words_lost + lost, words
        marks.text_bytes = self._bytes_checked + len(fresh.encode())
        final = min(len(fresh), max(0, self.session.settled_characters - self._checked))
        self._settle(fresh, fresh.rfind(" ", 0, final) + 1 or final)

    def _settle(self, fresh: str, count: int) -> None:
        """Look no more at the first `count` characters of what was compared."""
        self._words_checked += len(fresh[:count].split())
        self._bytes_checked += len(fresh[:count].encode())
        self._checked, self._pieces = self._checked + count, [fresh[count:]]

    def totals(self) -> Totals:
        """Of the whole stream."""
        stats = self.session.stats
        return {
            "words": self._words,
            "words_lost": self._words_lost,
            "silent_s_max": round(self.silent_s, 2),
            "forced": stats.forced,
            "not_finite": stats.not_finite,
            "compute_rtf": round(stats.compute_s / max(1.0, self.session.audio_s), 4),
        }


def _lines(result: "SessionResult | CrowdResult", marks: "Marks") -> list[str]:
    """What is printed after the table."""
    from simulst.bench.soak_marks import trend_lines

    left = result["left"]
    return [
        *trend_lines(marks.slopes()),
        f"{result['audio_hours']:g} h of audio{', then Ctrl-C' if result['interrupted'] else ''}: "
        f"{result['words']} words, {result['words_lost']} lost",
        ", ".join(f"{key} {value}" for key, value in result.items() if key not in _TOLD),
        "left behind: " + ("not looked at" if left is None else ", ".join(f"{n} {name}" for name, n in left.items())),
    ]


_TOLD = ("audio_hours", "interrupted", "words", "words_lost", "left")
