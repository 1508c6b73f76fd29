"""Somebody who is served all the time while others misbehave."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulst.testing import toy_audio, toy_text

Connect = Callable[..., Any]


class Victim:
    """Somebody else who is translated on the same server all the time; the text must come out right."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.said: list[int] = []
        connection.hello(chunk_ms=320)

    def speak(self) -> None:
        word = len(self.said) * 17 % 60 + 1
        self.said.append(word)
        self.connection.audio(toy_audio([word]))


@pytest.fixture(scope="module")
def victim(shared: Any, connect_to: Connect) -> Iterator[Victim]:
    one = Victim(connect_to(shared))
    yield one
    assert one.connection.finish() == toy_text(one.said)
    assert len(one.said) >= 2
    one.connection.close()


@pytest.fixture
def bystander(shared: Any, victim: Victim, client: Connect) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """The server, and a way to connect; afterwards all places but the victim's must be free."""
    victim.speak()
    yield shared, lambda **options: client(shared, **options)
    victim.speak()
    until = time.monotonic() + 5
    while shared.health()["clients"] > 1:
        assert time.monotonic() < until, "a place was not given back"
        time.sleep(0.02)
