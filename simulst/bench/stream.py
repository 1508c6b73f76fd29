"""`simulst bench stream`: what one chunk costs at the beginning and after an hour, and whether memory grows."""

import json
import statistics
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from simulst.cli import options
from simulst.errors import DataError

if TYPE_CHECKING:
    from simulst.policies import LoadedPolicy
    from simulst.translators.base import FloatArray


def resident_mb() -> float:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def speech(audio: Path | None, seconds: float) -> "FloatArray":
    """The bundled talk (or a file) over and over; 16 kHz."""
    import numpy as np

    from simulst.audio import open_file

    path = audio or Path(__file__).parents[2] / "examples" / "talk.flac"
    if not path.is_file():
        raise DataError(f"There is no {path}; name a recording with --audio.")
    with open_file(path) as stream:
        once = np.concatenate(list(stream))
    return np.tile(once, -(-int(seconds * 16_000) // len(once)))[: int(seconds * 16_000)]


@dataclass
class Costs:
    """Seconds per chunk of a run, by minute."""

    chunk_s: float
    seconds: list[float] = field(default_factory=list)

    def at_minute(self, minute: int) -> float:
        """Median cost of a chunk in the minute that ends at `minute`, in ms."""
        per_minute = round(60 / self.chunk_s)
        part = self.seconds[(minute - 1) * per_minute : minute * per_minute]
        return 1000 * statistics.median(part) if part else float("nan")


def side_by_side(old: Callable[[int], object], young: Callable[[int], object], chunks: int) -> float:
    """Cost of `old` over that of `young`, chunk by chunk in turn, so that a busy machine slows both alike."""
    spent = {"old": 0.0, "young": 0.0}
    for number in range(chunks):
        for name, step in (("old", old), ("young", young)) if number % 2 else (("young", young), ("old", old)):
            began = time.perf_counter()
            step(number)
            spent[name] += time.perf_counter() - began
    return round(spent["old"] / spent["young"], 3)


def encoder_costs(model: Any, minutes: int, chunk_ms: int) -> tuple[Costs, float]:
    """Only the encoder, over noise of speech-like level (its cost does not depend on what it hears)."""
    import torch

    encoder = model.model.encoder
    state, costs = encoder.open(), Costs(chunk_ms / 1000)
    chunk = 0.1 * torch.randn(round(chunk_ms * 16))
    with torch.inference_mode():
        for _ in range(round(minutes * 60_000 / chunk_ms)):
            began = time.perf_counter()
            encoder.step(chunk, state)
            costs.seconds.append(time.perf_counter() - began)
        young = encoder.open()
        for _ in range(round(60_000 / chunk_ms)):
            encoder.step(chunk, young)
        ratio = side_by_side(
            lambda _: encoder.step(chunk, state), lambda _: encoder.step(chunk, young), round(120_000 / chunk_ms)
        )
    return costs, ratio


def run_stream(
    model: Any, policy: "str | LoadedPolicy", minutes: int, chunk_ms: int | None, audio: Path | None
) -> dict[str, Any]:
    """A whole session: cost by minute, memory after 10 minutes and at the end, tokens."""
    from simulst.session import Session

    session = Session(model, policy, chunk_ms=chunk_ms)
    chunk = round(session.chunk_ms * 16)
    talk = speech(audio, 120)
    costs, memory, minute = Costs(session.chunk_ms / 1000), dict[int, float](), 0
    total = round(minutes * 60_000 / session.chunk_ms)
    per_talk = len(talk) // chunk

    def piece(number: int) -> "FloatArray":
        at = number % per_talk * chunk
        return talk[at : at + chunk]

    for number in range(total):
        began = time.perf_counter()
        session.feed(piece(number))
        costs.seconds.append(time.perf_counter() - began)
        if int((number + 1) * session.chunk_ms / 60_000) > minute:
            minute += 1
            memory[minute] = resident_mb()
    stats, processed = copy(session.stats), session.decoder_positions
    young = Session(model, policy, chunk_ms=chunk_ms)
    for number in range(per_talk):
        young.feed(piece(number))
        session.feed(piece(number))
    ratio = side_by_side(lambda n: session.feed(piece(n)), lambda n: young.feed(piece(n)), per_talk)
    begin = min(10, max(1, minutes // 6))
    return {
        "chunk_ms": session.chunk_ms,
        "cost_ms": {str(m): round(costs.at_minute(m), 2) for m in sorted({1, min(10, minutes), minutes})},
        "ratio_last_first": ratio,
        "rtf": round(sum(costs.seconds) / (total * session.chunk_ms / 1000), 4),
        "rss_mb": {str(m): round(memory[m], 1) for m in sorted({1, begin, minutes}) if m in memory},
        "rss_growth_mb": round(memory.get(minutes, 0.0) - memory.get(begin, 0.0), 1),
        "commits": stats.writes,
        "tokens_per_commit": round(stats.tokens / max(1, stats.writes), 2),
        "tokens": stats.tokens,
        "decoder_positions_per_token": None if processed is None else round(processed / max(1, stats.tokens), 2),
    }


def stream(
    minutes: Annotated[int, typer.Option(min=1, help="Length of the stream.", metavar="N")] = 60,
    policy: options.Policy = options.DEFAULT_POLICY,
    model: options.Model = options.DEFAULT_MODEL,
    set_: options.Set = None,
    mode: Annotated[
        Literal["incremental", "reencode"],
        typer.Option(help="reencode: the encoder starts anew on the kept audio at every chunk, as other systems do."),
    ] = "incremental",
    chunk_ms: options.ChunkMs = None,
    audio: Annotated[Path | None, typer.Option(help="Speech that is repeated.", metavar="FILE")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.", metavar="N")] = 1,
    json_: options.Json = False,
) -> None:
    """One long stream: cost per chunk at minute 1, 10 and the last, peak memory, real-time factor."""
    import resource

    import torch

    from simulst.bench.reencode import reencoding
    from simulst.cli.settings import load_policy_with, read_settings
    from simulst.models import load_model

    torch.set_num_threads(threads)
    settings = read_settings(set_ or [], policy=policy, model=model)
    translator = load_model(model, **settings.model)
    loaded = load_policy_with(policy, settings)
    result: dict[str, Any] = {"minutes": minutes, "policy": policy, "mode": mode, "threads": threads}
    if hasattr(translator, "model") and hasattr(translator.model, "encoder") and mode == "incremental":
        costs, ratio = encoder_costs(translator, minutes, chunk_ms or 640)
        result["encoder"] = {
            "cost_ms": {str(m): round(costs.at_minute(m), 2) for m in sorted({1, min(10, minutes), minutes})},
            "ratio_last_first": ratio,
        }
    total = run_stream(reencoding(translator) if mode == "reencode" else translator, loaded, minutes, chunk_ms, audio)
    result |= {key: total.pop(key) for key in ("rtf", "rss_growth_mb", "tokens_per_commit")}
    result["total"] = total
    result["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    if json_:
        print(json.dumps(result))
        return
    if "encoder" in result:
        encoder = result["encoder"]
        print(f"encoder  ms per chunk at minute {encoder['cost_ms']}  ratio {encoder['ratio_last_first']}")
    print(f"total    ms per chunk at minute {total['cost_ms']}  ratio {total['ratio_last_first']}")
    print(f"RTF {result['rtf']}  memory {total['rss_mb']} MB, growth {result['rss_growth_mb']} MB", end="")
    print(f", peak {result['peak_rss_mb']} MB")
    print(f"{total['commits']} commits of {result['tokens_per_commit']} tokens", end="")
    positions = total["decoder_positions_per_token"]
    print("" if positions is None else f", {positions} decoder positions per token")
