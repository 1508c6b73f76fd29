"""A live server with a toy model in this process, and clients for it."""

import asyncio
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
import soundfile
import soxr
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from simulst.core.languages import Pair
from simulst.core.translator import Translator
from simulst.live.access import Access
from simulst.live.captions import Captions
from simulst.live.catalogue import Catalogue
from simulst.live.hub import Limits
from simulst.live.server import serve_live
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio

Message = dict[str, Any]
TOY = Path(__file__).parents[1] / "cli" / "toy_simulst.py"


class Server:
    """Runs in a thread; `stop` shuts it down gracefully."""

    def __init__(
        self, models: dict[str, Translator], access: Access, limits: Limits, workers: int, captions: Captions | None
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._up = threading.Event()
        self.address = ""
        catalogue = Catalogue(models, load_policy("stream_att"))
        main = serve_live(
            catalogue,
            port=0,
            access=access,
            limits=limits,
            workers=workers,
            captions=captions,
            ready=self._ready,
            stop=self._stop,
        )
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(main,))
        self._thread.start()
        assert self._up.wait(10)

    def _ready(self, address: str) -> None:
        self.address = address
        self._up.set()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)
        assert not self._thread.is_alive()

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        request = Request(self.address + path, headers=headers)
        with urlopen(request) as answer:
            return int(answer.status), answer.read().decode()

    def health(self) -> Message:
        found: Message = json.loads(self.get("/health")[1])
        return found


class Client:
    """A client that remembers what it was told."""

    def __init__(self, server: Server, **options: Any) -> None:
        address = server.address.replace("http", "ws") + "/ws"
        self._opening = connect(
            address, compression=None, max_size=None, ping_interval=None, close_timeout=1, **options
        )  # one who has not read everything hears no goodbye
        self.socket: ClientConnection = self._opening.__enter__()
        self.seen: list[Message] = []
        self.text = ""
        self.seq = 0

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def hello(self, **changes: Any) -> Message:
        hello = {"version": 1, "sample_rate": 16_000, "format": "f32le", "pace": "file"}
        self.say(type="hello", **(hello | changes))
        return self.until("ready")

    def audio(self, samples: "np.typing.NDArray[Any]", block: int = 1_600) -> None:
        with suppress(ConnectionClosed):  # a stream that failed may be over before all is sent
            for start in range(0, len(samples), block):
                self.socket.send(samples[start : start + block].tobytes())

    def take(self, timeout: float = 10) -> Message:
        """The next message, applied to `text` as the protocol says."""
        message: Message = json.loads(self.socket.recv(timeout=timeout))
        self.seen.append(message)
        if "seq" in message and message["type"] not in ("snapshot", "resumed"):
            assert message["seq"] == self.seq + 1
            self.seq = message["seq"]
        if message["type"] == "snapshot":
            self.text, self.seq = message["text"], message["seq"]
        elif message["type"] == "write":
            assert message["start"] == len(self.text)
            self.text += message["text"]
        elif message["type"] == "retract":
            self.text = self.text[: len(self.text) - message["count"]]
            assert len(self.text) == message["length"]
        elif message["type"] == "end":
            assert message["text"] == self.text
        elif message["type"] == "ready":
            self.text, self.seq = "", 0
        return message

    def until(self, kind: str, timeout: float = 10) -> Message:
        while (message := self.take(timeout))["type"] != kind:
            if message["type"] == "error" and message["fatal"] and kind != "error":
                raise AssertionError(message)
        return message

    def finish(self) -> str:
        self.say(type="end")
        self.until("end")
        return self.text

    def close(self) -> None:
        self._opening.__exit__(None, None, None)


def new_server(
    models: dict[str, Translator] | None = None,
    access: Access | None = None,
    workers: int = 2,
    captions: Captions | None = None,
    **limits: Any,
) -> Server:
    return Server(models or {"toy": ToyTranslator()}, access or Access(), Limits(**limits), workers, captions)


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """One server for all tests of a module."""
    server = new_server(max_clients=4, resume_s=0.3, idle_s=30.0)
    yield server
    server.stop()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts a server; limits and access by keyword."""
    with ExitStack() as stack:

        def start(
            models: dict[str, Translator] | None = None, access: Access | None = None, workers: int = 2, **rest: Any
        ) -> Server:
            server = new_server(models, access, workers, **rest)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="module")
def connect_to() -> type[Client]:
    return Client


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    """Connects a client; closed at the end of the test."""
    with ExitStack() as stack:

        def start(server: Server, **options: Any) -> Client:
            one = Client(server, **options)
            stack.callback(one.close)
            return one

        yield start


class Transcriber(ToyTranslator):
    """A toy that says that it transcribes."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return (Pair(source="xx", target="xx"),)

    def for_pair(self, pair: Pair) -> "Transcriber":
        return self


@pytest.fixture
def scribe() -> Transcriber:
    return Transcriber()


@pytest.fixture(scope="session")
def pcm() -> Callable[[Sequence[int]], bytes]:
    """Toy audio as 24 kHz PCM16."""

    def make(words: Sequence[int]) -> bytes:
        samples = soxr.resample(toy_audio(words), 16_000, 24_000)
        return bytes((samples.clip(-1, 1) * 32_767).astype("<i2").tobytes())

    return make


@pytest.fixture(scope="session")
def wav() -> Callable[..., bytes]:
    """Toy audio as the content of a file."""
    subtypes = {"WAV": "FLOAT", "FLAC": "PCM_16", "OGG": "VORBIS"}

    def make(words: Sequence[int], form: str = "WAV") -> bytes:
        file = io.BytesIO()
        soundfile.write(file, toy_audio(words), 16_000, format=form, subtype=subtypes[form])
        return file.getvalue()

    return make


@dataclass(frozen=True, kw_only=True)
class Live:
    """A running `simulst live` with the toy model."""

    process: "subprocess.Popen[str]"
    address: str
    said: Path
    """What it wrote to stderr."""

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def translate(self, words: Sequence[int], address: str = "", **options: Any) -> str:
        """The translation of these words, as a new client of an `address` hears it."""
        with connect(
            (address or self.address).replace("http", "ws") + "/ws", compression=None, open_timeout=30, **options
        ) as client:
            hello = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "f32le", "pace": "file"}
            client.send(json.dumps(hello))
            client.send(toy_audio(words).tobytes())
            client.send('{"type": "end"}')
            while (message := json.loads(client.recv(timeout=30)))["type"] != "end":
                assert message["type"] != "error", message
            return str(message["text"])

    def request(self, *lines: str, host: str = "127.0.0.1") -> tuple[int, str]:
        """Status and body of the answer to a request of exactly these lines."""
        with socket.create_connection((host, self.port), timeout=10) as raw:
            raw.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = b"".join(iter(lambda: raw.recv(65_536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Live]]:
    """Starts `simulst live` with arguments, where asked with no more open files than `files`."""
    with ExitStack() as stack:

        def start(*args: str, files: int = 0) -> Live:
            said = tmp_path_factory.mktemp("live") / "stderr"
            command = [sys.executable, str(TOY), "live", "--model", "toy", "--port", "0", *args]
            if files:
                command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
            with said.open("w") as sink:
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, text=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, said.read_text()
            return Live(process=process, address=line.split()[3].rstrip("/"), said=said)

        yield start
