"""What a stream held is given back when it is over, not when the garbage collector happens to come by."""

import asyncio
import gc
import random
import time
import weakref
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from simulst.bench.soak_visit import Visit
from simulst.core.session import Session
from simulst.testing import toy_audio

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("way", ["stays", "leaves", "vanishes"])
def test_a_session_ends_with_its_stream(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    opened: list[weakref.ref[Session]] = []
    begin = Session.__init__

    def noted(session: Session, *arguments: Any, **options: Any) -> None:
        begin(session, *arguments, **options)
        opened.append(weakref.ref(session))

    monkeypatch.setattr(Session, "__init__", noted)
    server = serve(resume_s=0.2)
    gc.collect()
    gc.disable()
    try:
        for seed in range(3):
            address = server.address.replace("http", "ws") + "/ws"
            audio = toy_audio([3, 14, 15, 9, 26, 30] * 4)
            asyncio.run(Visit(address, audio, way, random.Random(seed), lambda _: None, lambda _: None).run())
        until = time.monotonic() + 10
        while any(session() is not None for session in opened) and time.monotonic() < until:
            time.sleep(0.05)
        assert len(opened) >= 3 and [session() for session in opened if session() is not None] == []
    finally:
        gc.enable()


def test_memory_is_given_back_when_the_last_stream_has_ended(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[bool]()
    monkeypatch.setattr("simulst.live.hub.give_back", lambda *, collect: calls.append(collect))
    server = serve(resume_s=0.2)
    address = server.address.replace("http", "ws") + "/ws"
    for count in (1, 2):
        asyncio.run(Visit(address, toy_audio([3, 14]), "stays", random.Random(0), lambda _: None, lambda _: None).run())
        until = time.monotonic() + 10
        while len(calls) < count and time.monotonic() < until:
            time.sleep(0.05)
    time.sleep(0.3)
    assert calls == [False, False]


def test_hundreds_of_clients_leave_nothing(serve: Callable[..., Any], connect_to: Callable[..., Any]) -> None:
    server, process = serve(), psutil.Process()

    def come(clients: int) -> tuple[int, int, int]:
        for number in range(clients):
            one = connect_to(server)
            one.hello(chunk_ms=320)
            one.audio(toy_audio([3, 14, 15]))
            if number % 2:
                one.finish()
            one.close()
        until = time.monotonic() + 30
        while server.health()["clients"] and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.2)
        gc.collect()
        return len(gc.get_objects()), process.num_fds(), process.num_threads()

    come(20)
    first, second, third = come(60), come(60), come(60)
    assert min(second[0] - first[0], third[0] - second[0]) < 60  # objects: less than one for each client
    assert third[1] <= first[1] + 1 and third[2] <= first[2] + 1
