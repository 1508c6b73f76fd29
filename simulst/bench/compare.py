"""Two ways to do the same, in turn and in one run, so that a busy machine slows both alike."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from simulst.bench.reencode import reencoding
from simulst.errors import ModelError
from simulst.models.warm import elsewhere
from simulst.policies import load_policy

if TYPE_CHECKING:
    from simulst.core.session import Session
    from simulst.core.translator import FloatArray, Translator
    from simulst.policies import LoadedPolicy

WARM_S = 25.0
COMPARED_S = 30.0
WINDOW_S = 15.0
"""Audio that is kept while the cost of capturing attention is measured."""


class Reencoding(TypedDict):
    """Cost of a chunk with the history kept, and computed anew."""

    cost_ms: dict[str, float]
    ratio: float
    rtf: float
    positions_per_token: NotRequired[dict[str, float]]


def clock_of(model: "Translator") -> Callable[[], float]:
    """CPU time where the model computes on the CPU (other processes do not count), else wall-clock time."""
    return time.perf_counter if elsewhere(model) else time.process_time


def in_turn(
    one: Callable[[int], object], other: Callable[[int], object], rounds: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds that `rounds` calls of each took, the order changing from round to round."""
    spent = [0.0, 0.0]
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            began = clock()
            (one, other)[which](number)
            spent[which] += clock() - began
    return spent[0], spent[1]


def reencode_cost(
    model: "Translator", policy: "str | LoadedPolicy", old: "Session", piece: "Callable[[int], FloatArray]"
) -> Reencoding:
    """Cost of a chunk for the running session `old`, and for the same model that computes its history anew."""
    from simulst.core.session import Session

    young = Session(reencoding(model), load_policy(policy), chunk_ms=old.chunk_ms)
    chunks = round(COMPARED_S * 1000 / old.chunk_ms)
    clock = clock_of(model)
    before = _done(old)
    for number in range(round(WARM_S * 1000 / old.chunk_ms)):
        young.feed(piece(number))
    young_before = _done(young)
    incremental, anew = in_turn(lambda n: old.feed(piece(n)), lambda n: young.feed(piece(n)), chunks, clock)
    found: Reencoding = {
        "cost_ms": {"incremental": round(1000 * incremental / chunks, 2), "reencode": round(1000 * anew / chunks, 2)},
        "ratio": round(anew / incremental, 2),
        "rtf": round(anew / COMPARED_S, 4),
    }
    if old.decoder_positions is not None and young.decoder_positions is not None:
        found["positions_per_token"] = {
            "incremental": _rate(before, _done(old)),
            "reencode": _rate(young_before, _done(young)),
        }
    return found


def _done(session: "Session") -> tuple[int, int]:
    """Tokens committed and decoder entries processed so far."""
    return session.stats.tokens, session.decoder_positions or 0


def _rate(before: tuple[int, int], after: tuple[int, int]) -> float:
    return round((after[1] - before[1]) / max(1, after[0] - before[0]), 2)


def capture_cost(model: "Translator", pieces: "Sequence[FloatArray]") -> dict[str, float]:
    """What attention rows cost: a chunk's encoding and decoding with them over that without, same prefix and tokens."""
    from simulst.core.translator import Evidence, Query

    session, clock, prefix = model.open(), clock_of(model), list[int]()
    spent = {"encoder": 0.0, "with": 0.0, "without": 0.0}
    wants = {"with": frozenset({Evidence.ALIGNMENT}), "without": frozenset[Evidence]()}
    for number, samples in enumerate(pieces):
        began = clock()
        session.extend_source(samples)
        spent["encoder"] += clock() - began
        new: tuple[int, ...] = ()
        for name in ("with", "without") if number % 2 else ("without", "with"):
            began = clock()
            new = session.hypothesise(prefix, Query(max_new=4, want=wants[name]))[0].ids
            spent[name] += clock() - began
        prefix += new[:2]
        if session.heard_s - session.start_s > WINDOW_S:
            session.drop_source(session.heard_s - WINDOW_S)
        if len(prefix) > 40:
            session.drop_target(len(prefix) - 40)
            prefix = prefix[-40:]
    if not spent["without"]:
        raise ModelError("The recording has no speech to measure on.")
    whole = (spent["encoder"] + spent["with"]) / (spent["encoder"] + spent["without"])
    return {"ratio": round(whole, 3), "ratio_decoding": round(spent["with"] / spent["without"], 3)}
