"""The clients of `simulst bench soak --live` on a server with a toy model: every way of behaving, nothing lost."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

from simulst.bench.soak_live import Crowd, _pieces
from simulst.bench.soak_marks import Mark, Marks
from simulst.bench.soak_visit import WAYS, Refused, Visit
from simulst.testing import toy_audio, toy_text

WORDS = [int(word) for word in np.random.default_rng(0).integers(1, 61, 96)]
Serve = Callable[..., Any]


def visit(server: Any, way: str, seed: int = 0) -> Visit:
    address = server.address.replace("http", "ws") + "/ws"
    one = Visit(address, toy_audio(WORDS), way, random.Random(seed), lambda seconds: None, lambda seconds: None)
    asyncio.run(one.run())
    return one


@pytest.mark.slow
@pytest.mark.parametrize("way", ["stays", "pushes", "breaks"])
def test_who_comes_to_the_end_hears_everything(serve: Serve, way: str) -> None:
    one = visit(serve(resume_s=5.0), way)
    assert one.ended and one.text == toy_text(WORDS)
    assert one.decided_s == pytest.approx(0.32 * len(WORDS))
    assert (one.resumed > 0) == (way == "breaks")


@pytest.mark.parametrize("way", ["leaves", "vanishes"])
def test_who_goes_early_has_heard_the_beginning(serve: Serve, way: str) -> None:
    one = visit(serve(resume_s=0.2), way)
    assert not one.ended and one.text
    assert toy_text(WORDS).startswith(one.text.rsplit(" ", 1)[0])


def test_a_full_server_is_told_from_a_broken_one(serve: Serve, client: Callable[..., Any]) -> None:
    server = serve(max_clients=1)
    client(server).hello()
    with pytest.raises(Refused) as refused:
        visit(server, "stays")
    assert refused.value.code == "busy"


def crowd(server: Any, expected: list[str], hours: float) -> Crowd:
    pieces = _pieces(toy_audio(WORDS))
    address = server.address.replace("http", "ws") + "/ws"
    found = Crowd(address, pieces, expected, psutil.Process())
    asyncio.run(found.warm())
    before = found.state()
    seen: list[Mark] = []
    found.marks = Marks(3_600 * hours, found.server, found.cpu_s, seen.append)
    asyncio.run(found.gather(4))
    assert 4 <= len(seen) <= 10 and found.marks.complete
    left = found.left(before)
    assert left["places"] == 0 and left["files"] <= 2 and left["threads"] <= 0
    return found


def said(words: list[int]) -> list[str]:
    part = len(words) // 12
    return [toy_text(words[part * i : part * (2 * i + 3)]) for i in range(5)] + [toy_text(words[4 * part :])]


@pytest.mark.slow
def test_a_crowd_loses_no_word_and_leaves_nothing(serve: Serve) -> None:
    found = crowd(serve(max_clients=12, resume_s=3.0), said(WORDS), 0.15).totals()
    assert found["words"] > 300 and found["words_lost"] == 0
    assert set(found["visits"]) == set(WAYS) and found["resumed"] > 0
    assert found["same_text"] == sum(found["visits"][way] for way in ("stays", "pushes", "breaks"))


@pytest.mark.slow
def test_a_word_that_does_not_come_is_counted(serve: Serve) -> None:
    expected = [text.replace(" ", " lost ", 1) for text in said(WORDS)]
    found = crowd(serve(max_clients=12, resume_s=3.0), expected, 0.05).totals()
    visits = sum(found["visits"].values())
    assert visits / 2 <= found["words_lost"] <= 2 * visits
