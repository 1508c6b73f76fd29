"""`simulst live` as a process: it says where it is, serves, ends in order, and explains what cannot be."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import soundfile
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from simulst.testing import toy_audio, toy_text

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]
TOY = Path(__file__).with_name("toy_simulst.py")


def spawn(*args: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(TOY), "live", "--model", "toy", *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def server() -> "Iterator[tuple[subprocess.Popen[str], str]]":
    process = spawn("--port", "0", "--max-clients", "1", "--token", "ganz geheim+")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("Live subtitles at http://127.0.0.1:") and line.endswith(
        "/#token=ganz%20geheim%2B  (Ctrl-C to stop)\n"
    )
    yield process, line.split()[3].split("/#")[0]
    process.kill()
    process.communicate()


def test_what_cannot_be_is_explained(run: Run, tmp_path: Path) -> None:
    def refused(*args: object) -> str:
        status, out, err = run("live", "--model", "toy", *args)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        return err.removeprefix("simulst: ").strip()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refused("--port", port)
    assert sentence == f"127.0.0.1:{port} cannot be used: address already in use; choose another --port."
    cert = tmp_path / "cert.pem"
    cert.write_text("no certificate")
    assert refused("--tls-cert", cert) == "https needs both --tls-cert and --tls-key."
    assert "cannot be used as certificate and key" in refused("--tls-cert", cert, "--tls-key", cert)
    assert refused("--pause-silence", 0.5) == "--pause-silence must be 0, or from 1 to 3600 seconds."
    assert refused("--caption", "fax=x").startswith("--caption takes KIND=WHERE with one of teams, zoom, webhook, hls,")
    assert refused("--max-clients", 0).startswith("--max-clients, --idle-s and --batch must be above 0")


def test_sigterm_translates_what_was_heard_and_exits_in_order(server: "tuple[subprocess.Popen[str], str]") -> None:
    process, address = server
    with connect(address.replace("http", "ws") + "/ws", compression=None) as client:
        hello = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "f32le", "token": "ganz geheim+"}
        client.send(json.dumps({**hello, "policy": "offline", "pace": "file"}))
        assert json.loads(client.recv())["type"] == "ready"
        client.send(toy_audio([3, 5, 7]).tobytes())
        while (message := json.loads(client.recv()))["type"] != "lag" or message["backlog_s"] > 0.4:
            pass
        process.send_signal(signal.SIGTERM)
        messages = []
        with pytest.raises(ConnectionClosedError, match=r"1012 \(service restart\) shutting_down"):
            while True:
                messages.append(json.loads(client.recv()))
    end = next(message for message in messages if message["type"] == "end")
    assert (end["text"], end["reason"]) == (toy_text([3, 5, 7]), "shutdown")
    assert messages[-1]["code"] == "shutting_down"
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("toy:look_ahead_s=0.1,nonsense", "'nonsense' is no KEY=VALUE; write NAME:KEY=VALUE,KEY=VALUE."),
        ("tiny-en-de:task=sing", "Option 'task' of tiny-en-de is 'sing'; it must be translate or transcribe."),
    ],
)
def test_options_of_a_model_on_offer_are_judged(run: Run, model: str, sentence: str) -> None:
    status, out, err = run("live", "--model", "toy", "--model", model)
    assert (status, out, err.count("\n")) == (2, "", 1) and sentence in err, err


def test_models_with_options_of_their_own_are_offered_side_by_side() -> None:
    own = [argument for name in ("toy", "toy:look_ahead_s=0.32") for argument in ("--model", name)]
    process = spawn("--port", "0", *own)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[3]
        with urlopen(address + "config") as answer:
            config = json.loads(answer.read())
        assert [model["name"] for model in config["models"]] == ["toy", "toy:look_ahead_s=0.32"]
    finally:
        process.kill()
        process.communicate()


def test_the_terminal_mode_needs_no_server(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    soundfile.write(path, toy_audio([3, 5, 7]), 16_000, subtype="FLOAT")
    assert run("live", "--model", "toy", "--terminal", path) == (0, f"{toy_text([3, 5, 7])}\n", "")
