"""`simulst bench live`: round trips, and the lag of real client processes that speak to one server at the same time."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NotRequired, TypedDict

import typer

from simulst.bundled import bundled_path, talk
from simulst.cli import options
from simulst.cli.threads import processors
from simulst.errors import SimulstError
from simulst.policies import load_policy

if TYPE_CHECKING:
    from simulst.audio import FloatArray

PINGS = 90
"""As many as a client may send in a burst."""
COMMAND = (sys.executable, "-P", "-m", "simulst")
"""How the server is started."""
TALK = talk()


def live(
    source: Annotated[
        Path, typer.Option(parser=bundled_path, help="Audio that every client sends.", metavar="FILE")
    ] = TALK,
    model: options.Model = options.DEFAULT_MODEL,
    policy: options.Policy = options.DEFAULT_POLICY,
    clients: Annotated[
        str, typer.Option(help='Numbers of clients to try; "" for none.', metavar="N,N,...")
    ] = "1,2,4,8",
    seconds: Annotated[float, typer.Option(help="Seconds of FILE that are sent.", min=5.0, metavar="S")] = 60.0,
    session_minutes: Annotated[
        float,
        typer.Option(help="Length of one more session, of FILE repeated, faster than real time; 0: none.", min=0.0),
    ] = 0.0,
    batch: Annotated[
        int, typer.Option(help="Maximum number of streams that the server decodes in one forward pass.", min=1)
    ] = 1,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json_: options.Json = False,
) -> None:
    """Start a server and client processes that speak in real time; print round trips, lag, and words lost."""
    try:
        numbers = [int(number) for number in clients.split(",") if number.strip() and int(number) > 0]
    except ValueError:
        raise SimulstError(f"--clients takes numbers like 1,2,4,8, not {clients!r}.") from None
    place = {"device": device, **({"dtype": dtype} if dtype else {})}
    found = measure(source, model, policy, numbers, seconds, session_minutes, batch, place)
    if json_:
        print(json.dumps(found))
    else:
        _show(found)


class RoundTrips(TypedDict):
    """Of pings, and of audio to the event that confirms it."""

    roundtrip_ms_median: float
    roundtrip_ms_p95: float
    event_ms_median: float
    event_ms_p95: float


class Whole(TypedDict):
    """The long session, compared with `simulst translate`."""

    marks: dict[str, dict[str, float]]
    words: int
    words_lost: int
    identical: bool


class Found(RoundTrips):
    """What `measure` finds."""

    model: str
    policy: str
    seconds: float
    batch: int
    cpus: int
    load_before: float
    clients: dict[str, dict[str, float]]
    session: NotRequired[Whole]


def _show(found: Found) -> None:
    print(f"{found['cpus']} processors, load of the machine before: {found['load_before']:.1f}")
    print(
        f"round trip {found['roundtrip_ms_median']:.2f} ms, through a stream {found['event_ms_median']:.2f} ms (median)"
    )
    for number, one in found["clients"].items():
        print(
            f"{number:>3} clients: lag {one['lag_median_s']:.2f} s median, {one['lag_p95_s']:.2f} s p95, "
            f"{one['words_lost']} of {one['words']} words lost ({one['words_heard']} came), "
            f"{one['cpu_rtf']:.2f} CPU s per s, "
            f"{one['rss_mb']:.0f} MB"
        )
    if session := found.get("session"):
        for minute, one in session["marks"].items():
            print(
                f"minute {minute}: {one['rss_mb']:.0f} MB, lag {one['lag_median_s']:.2f} s median, "
                f"{one['lag_p95_s']:.2f} s p95, {one['cpu_rtf']:.3f} CPU s per s"
            )
        print(f"{session['words_lost']} of {session['words']} words lost, same text: {session['identical']}")


def measure(
    source: Path,
    model: str,
    policy: str,
    numbers: list[int],
    seconds: float,
    session_minutes: float = 0.0,
    batch: int = 1,
    place: dict[str, str] | None = None,
) -> Found:
    """All figures; lags are those of all writes of all clients together. `place` is the device and the dtype."""
    from simulst.audio import read_audio
    from simulst.bench.live_session import blocks, long_session

    load, place = os.getloadavg()[0], place or {}
    expected = _translate([read_audio(source, duration_s=seconds)], model, policy, place) if numbers else ""
    places = max([1, *numbers])
    arguments = ["--model", model, "--policy", policy, "--max-clients", str(places), "--batch", str(batch)]
    arguments += [f"--{name}={value}" for name, value in place.items()]
    with serving(arguments) as (address, process):
        trips = _round_trips(address)
        found = Found(
            model=model,
            policy=policy,
            seconds=seconds,
            batch=batch,
            clients={},
            cpus=processors(),
            load_before=load,
            roundtrip_ms_median=trips["roundtrip_ms_median"],
            roundtrip_ms_p95=trips["roundtrip_ms_p95"],
            event_ms_median=trips["event_ms_median"],
            event_ms_p95=trips["event_ms_p95"],
        )
        for number in numbers:
            found["clients"][str(number)] = _crowd(address, process, number, source, policy, seconds, expected)
        if session_minutes:
            session = long_session(address, process.pid, source, policy, session_minutes)
    if session_minutes:
        text, expected = session["text"], _translate(blocks(source, session_minutes), model, policy, place)
        words = expected.split()
        lost = len(words) - common_words(words, text.split()) if text != expected else 0
        same = text == expected
        found["session"] = Whole(marks=session["marks"], words=len(words), words_lost=lost, identical=same)
    return found


def _translate(audio: "Iterable[FloatArray]", model: str, policy: str, place: dict[str, str]) -> str:
    """What `simulst translate` says about the same audio."""
    from simulst.core.session import Session
    from simulst.models import load_model
    from simulst.sinks.drive import drive

    session = Session(load_model(model, **place), load_policy(policy))
    drive(session, audio, [])
    return session.text


@contextmanager
def serving(arguments: list[str]) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    """`simulst live` with these arguments as a process of its own: its websocket's address, and the process."""
    process = subprocess.Popen([*COMMAND, "live", "--port", "0", *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        words = process.stdout.readline().split()
        if len(words) < 4:
            raise SimulstError("The server did not start.")
        yield words[3].rstrip("/").replace("http", "ws") + "/ws", process
    finally:
        process.terminate()
        process.wait(30)


def _round_trips(address: str) -> RoundTrips:
    """`roundtrip`: ping to pong; `event`: a block of audio too short for a decision to the event that confirms it."""
    from websockets.sync.client import connect

    pings, events = list[float](), list[float]()
    with connect(address, compression=None, ping_interval=None) as socket:
        hello = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "s16le", "chunk_ms": 5_000}
        socket.send(json.dumps({**hello, "pace": "file"}))
        socket.recv()
        for number in range(PINGS):
            begin = time.perf_counter()
            socket.send(json.dumps({"type": "ping", "id": number}))
            socket.recv()
            pings.append(time.perf_counter() - begin)
        for _ in range(400):  # 4 s of audio: no decision yet
            begin = time.perf_counter()
            socket.send(bytes(320))
            while json.loads(socket.recv())["type"] != "lag":
                pass
            events.append(time.perf_counter() - begin)
    return RoundTrips(
        roundtrip_ms_median=1000 * statistics.median(pings),
        roundtrip_ms_p95=1000 * _quantile(pings, 0.95),
        event_ms_median=1000 * statistics.median(events),
        event_ms_p95=1000 * _quantile(events, 0.95),
    )


def _crowd(
    address: str,
    server: "subprocess.Popen[str]",
    number: int,
    source: Path,
    policy: str,
    seconds: float,
    expected: str,
) -> dict[str, float]:
    cpu_s = _cpu_s(server.pid)
    command = [sys.executable, "-P", "-m", "simulst.bench.live_client", address, str(source), str(seconds), policy]
    crowd = [
        subprocess.Popen([*command, str(0.64 * place / number)], stdout=subprocess.PIPE, text=True)
        for place in range(number)
    ]
    results = [json.loads(client.communicate()[0] or "{}") for client in crowd]
    if not all(results):
        raise SimulstError("A client of the benchmark failed; see above.")
    lags = [lag for result in results for lag in result["lags_s"]]
    words = expected.split()
    return {
        "lag_median_s": statistics.median(lags),
        "lag_p95_s": _quantile(lags, 0.95),
        "words": len(words) * number,
        "words_heard": sum(len(result["text"].split()) for result in results),
        "words_lost": sum(len(words) - common_words(words, result["text"].split()) for result in results),
        "identical": sum(result["text"] == expected for result in results),
        "backlog_max_s": max(result["backlog_max_s"] for result in results),
        "load": statistics.mean(result["load"] for result in results),
        "cpu_rtf": (_cpu_s(server.pid) - cpu_s) / (number * seconds),
        "rss_mb": _rss_mb(server.pid),
    }


def common_words(words: list[str], others: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(others) + 1)
    for word in words:
        before = 0
        for i, other in enumerate(others, start=1):
            before, row[i] = row[i], before + 1 if word == other else max(row[i], row[i - 1])
    return row[-1]


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _cpu_s(process: int) -> float:
    import psutil

    times = psutil.Process(process).cpu_times()
    return float(times.user + times.system)


def _rss_mb(process: int) -> float:
    import psutil

    return float(psutil.Process(process).memory_info().rss / 2**20)
