"""`simulst bench stream`: what one chunk costs at the beginning and after an hour, and whether memory grows."""

import json
import os
import statistics
import time
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NotRequired, TypedDict

import typer

from simulst.bench.compare import Reencoding, capture_cost, clock_of, in_turn, reencode_cost
from simulst.bench.reencode import reencoding
from simulst.bundled import bundled_path, talk
from simulst.cli import options
from simulst.cli.threads import processors
from simulst.errors import DataError
from simulst.policies import load_policy

if TYPE_CHECKING:
    from simulst.bench.batch import BatchCost
    from simulst.core.translator import FloatArray, Translator
    from simulst.models.speech_llm.compute import Computed
    from simulst.policies import LoadedPolicy


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

    path = audio or talk()
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a recording with --audio.")
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


def encoder_costs(model: "Computed", minutes: int, chunk_ms: int) -> tuple[Costs, float]:
    """Only the encoder, over noise of speech-like level (its cost does not depend on what it hears)."""
    import torch

    encoder = model.weights.model.encoder
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
        old_s, young_s = in_turn(
            lambda _: encoder.step(chunk, state),
            lambda _: encoder.step(chunk, young),
            round(120_000 / chunk_ms),
            clock_of(model),
        )
    return costs, round(old_s / young_s, 3)


class Total(TypedDict):
    """A whole session."""

    chunk_ms: int
    cost_ms: dict[str, float]
    ratio_last_first: float
    rss_mb: dict[str, float]
    commits: int
    tokens: int
    decoder_positions_per_token: float | None


class Long(TypedDict):
    """One long stream: its session and what is told apart from it."""

    rtf: float
    rtf_cpu: float
    rss_growth_mb: float
    tokens_per_commit: float
    reencode: Reencoding | None
    total: Total
    encoder: NotRequired[dict[str, object]]
    capture: NotRequired[dict[str, float]]
    peak_rss_mb: NotRequired[float]


def run_stream(
    model: "Translator",
    policy: "str | LoadedPolicy",
    minutes: int,
    chunk_ms: int | None,
    audio: Path | None,
    *,
    compare: bool = False,
) -> Long:
    """A whole session: cost by minute, memory after 10 minutes and at the end, tokens."""
    from simulst.core.session import Session

    session = Session(model, load_policy(policy), chunk_ms=chunk_ms)
    chunk = round(session.chunk_ms * 16)
    talk = speech(audio, 120)
    costs, memory, minute, cpu_s = Costs(session.chunk_ms / 1000), dict[int, float](), 0, 0.0
    total = round(minutes * 60_000 / session.chunk_ms)
    per_talk = len(talk) // chunk

    def piece(number: int) -> "FloatArray":
        at = number % per_talk * chunk
        return talk[at : at + chunk]

    for number in range(total):
        began, cpu_began = time.perf_counter(), time.process_time()
        session.feed(piece(number))
        costs.seconds.append(time.perf_counter() - began)
        cpu_s += time.process_time() - cpu_began
        if int((number + 1) * session.chunk_ms / 60_000) > minute:
            minute += 1
            memory[minute] = resident_mb()
    memory[minutes] = resident_mb()
    stats, processed = copy(session.stats), session.decoder_positions
    young = Session(model, load_policy(policy), chunk_ms=chunk_ms)
    for number in range(per_talk):
        young.feed(piece(number))
        session.feed(piece(number))
    old_s, young_s = in_turn(
        lambda n: session.feed(piece(n)), lambda n: young.feed(piece(n)), per_talk, clock_of(model)
    )
    begin = min(10, max(1, minutes // 6))
    whole = Total(
        chunk_ms=session.chunk_ms,
        cost_ms={str(m): round(costs.at_minute(m), 2) for m in sorted({1, min(10, minutes), minutes})},
        ratio_last_first=round(old_s / young_s, 3),
        rss_mb={str(m): round(memory[m], 1) for m in sorted({1, begin, minutes}) if m in memory},
        commits=stats.writes,
        tokens=stats.tokens,
        decoder_positions_per_token=None if processed is None else round(processed / max(1, stats.tokens), 2),
    )
    return Long(
        rtf=round(sum(costs.seconds) / (total * session.chunk_ms / 1000), 4),
        rtf_cpu=round(cpu_s / (total * session.chunk_ms / 1000), 4),
        rss_growth_mb=round(memory.get(minutes, 0.0) - memory.get(begin, 0.0), 1),
        tokens_per_commit=round(stats.tokens / max(1, stats.writes), 2),
        reencode=reencode_cost(model, policy, session, piece) if compare else None,
        total=whole,
    )


def stream(
    minutes: Annotated[int, typer.Option(min=1, help="Length of the stream.", metavar="N")] = 60,
    policy: options.Policy = options.DEFAULT_POLICY,
    model: options.Model = options.DEFAULT_MODEL,
    set_: options.Set = None,
    mode: Annotated[
        Literal["incremental", "reencode"],
        typer.Option(help="reencode: at every chunk all audio that is kept is encoded again."),
    ] = "incremental",
    compare: Annotated[
        bool,
        typer.Option(
            help="At the end also measure the same model re-encoding its history, and the cost of attention rows."
        ),
    ] = True,
    batch: Annotated[
        int, typer.Option(min=0, help="Instead compare N streams decoded together with one at a time.", metavar="N")
    ] = 0,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each stream of --batch.", metavar="S")] = 30.0,
    chunk_ms: options.ChunkMs = None,
    audio: Annotated[
        Path | None, typer.Option(parser=bundled_path, help="Speech that is repeated.", metavar="FILE")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.", metavar="N")] = 1,
    batch_threads: Annotated[
        int,
        typer.Option(min=0, help="Threads of the model for --batch; 0: half of the processors.", metavar="N"),
    ] = 0,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json_: options.Json = False,
) -> None:
    """One long stream: cost per chunk at minute 1, 10 and the last, memory, real-time factor; or several together."""
    import torch

    from simulst.chosen import load_policy_with, read_settings
    from simulst.models import load_model

    torch.set_num_threads(threads)
    settings = read_settings(set_ or [], policy=policy, model=model)
    translator = load_model(model, device=device, dtype=dtype, **settings.model)
    loaded = load_policy_with(policy, settings)
    head: dict[str, object] = {"policy": policy, "load": round(os.getloadavg()[0], 1)}
    if batch:
        count = threads, batch_threads or max(1, processors() // 2)
        found = _together(translator, loaded, chunk_ms, audio, streams=batch, seconds=seconds, threads=count)
        print(json.dumps({**head, **found}) if json_ else "\n".join(_batch_lines(found)))
    else:
        head |= {"minutes": minutes, "mode": mode, "threads": threads}
        long = _long(translator, loaded, minutes, chunk_ms, audio, mode=mode, compare=compare)
        print(json.dumps({**head, **long}) if json_ else "\n".join(_lines(long)))


def _together(
    translator: "Translator",
    policy: "LoadedPolicy",
    chunk_ms: int | None,
    audio: Path | None,
    *,
    streams: int,
    seconds: float,
    threads: tuple[int, int],
) -> "BatchCost":
    from simulst.bench.batch import batch_cost

    talk = speech(audio, seconds + 10 * streams)
    return batch_cost(translator, policy, chunk_ms, talk, streams=streams, seconds=seconds, threads=threads)


def _long(
    translator: "Translator",
    policy: "LoadedPolicy",
    minutes: int,
    chunk_ms: int | None,
    audio: Path | None,
    *,
    mode: str,
    compare: bool,
) -> Long:
    import resource

    from simulst.core.translator import Evidence
    from simulst.models.speech_llm.compute import Computed

    anew, encoder = mode == "reencode", dict[str, object]()
    if isinstance(translator, Computed) and not anew:
        costs, ratio = encoder_costs(translator, minutes, chunk_ms or 640)
        encoder = {
            "cost_ms": {str(m): round(costs.at_minute(m), 2) for m in sorted({1, min(10, minutes), minutes})},
            "ratio_last_first": ratio,
        }
    model = reencoding(translator) if anew else translator
    result = run_stream(model, policy, minutes, chunk_ms, audio, compare=compare and not anew)
    if encoder:
        result["encoder"] = encoder
    if compare and not anew and Evidence.ALIGNMENT in policy.policy.needs():
        chunk = round(result["total"]["chunk_ms"] * 16)
        talk = speech(audio, 60)
        result["capture"] = capture_cost(translator, [talk[at : at + chunk] for at in range(0, len(talk), chunk)])
    result["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return result


def _lines(result: Long) -> list[str]:
    total, lines = result["total"], list[str]()
    if encoder := result.get("encoder"):
        lines.append(f"encoder  ms per chunk at minute {encoder['cost_ms']}  ratio {encoder['ratio_last_first']}")
    positions = total["decoder_positions_per_token"]
    lines += [
        f"total    ms per chunk at minute {total['cost_ms']}  ratio {total['ratio_last_first']}",
        f"RTF {result['rtf']} (CPU {result['rtf_cpu']})  memory {total['rss_mb']} MB, "
        f"growth {result['rss_growth_mb']} MB, peak {result['peak_rss_mb']} MB",
        f"{total['commits']} commits of {result['tokens_per_commit']} tokens"
        + ("" if positions is None else f", {positions} decoder positions per token"),
    ]
    if anew := result.get("reencode"):
        lines.append(f"re-encoding its history: {anew['ratio']} times the cost of a chunk, {anew['cost_ms']} ms")
        if rates := anew.get("positions_per_token"):
            lines.append(f"decoder positions per token {rates}")
    if capture := result.get("capture"):
        lines.append(
            f"attention rows: {capture['ratio']} times a chunk, {capture['ratio_decoding']} times its decoding"
        )
    return lines


def _batch_lines(result: "BatchCost") -> list[str]:
    lines = [f"{'':<12}{'audio s per s':>14}{'CPU s per audio s':>20}{'threads':>10}"]
    for name, title, cost in (("alone", "one by one", result["alone"]), ("together", "together", result["together"])):
        speed, cpu = cost["audio_s_per_s"], cost["cpu_s_per_audio_s"]
        lines.append(f"{title:<12}{speed:>14}{cpu:>20}{result['threads'][name]:>10}")
    return [
        *lines,
        f"{result['streams']} streams of {result['seconds']:g} s: {result['ratio']} times the audio per second, "
        f"{result['ratio_cpu']} times that per CPU second, {result['together']['requests_per_forward']} requests per "
        f"forward, the same text in {result['same_text']} of {result['streams']}",
    ]
