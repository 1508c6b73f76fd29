"""What a stream held is given back when it is over, not when the garbage collector happens to come by."""

import asyncio
import gc
import random
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from simulst.bench.soak_visit import Visit
from simulst.core.session import Session
from simulst.testing import toy_audio


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
