"""`simulst bench evaluate`: what the evaluation harness costs without a model, compared with SimulEval if installed."""

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from simulst.bench import null
from simulst.cli import options
from simulst.errors import DataError

SHORT, CHUNK_MS = 200, 320
STOCK_AGENT = Path(__file__).with_name("simuleval_wait3.py")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one whole process, its start included."""

    cpu_s: float
    wall_s: float
    rss_mb: float


def evaluate(
    files: Annotated[int, typer.Option(min=1, help="Short recordings.", metavar="N")] = SHORT,
    minutes: Annotated[int, typer.Option(min=1, help="Length of the long recording.", metavar="N")] = 60,
    simuleval: Annotated[
        str, typer.Option(help="Python with simuleval and simulst (default: SIMULST_SIMULEVAL, or this one).")
    ] = "",
    speedup: Annotated[
        bool, typer.Option(help="Also measure two workers against one, and a bare loop in two processes.")
    ] = True,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each is measured; the best counts.", metavar="N")] = 3,
    json_: options.Json = False,
) -> None:
    """Cost of reading, stepping, logging and scoring; CPU time and peak memory of whole processes."""
    python = _simuleval_python(simuleval)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        short = make_recordings(root / "short", seconds=[3.5 + 4.2 * (i * 7 % files) / files for i in range(files)])
        long = make_recordings(root / "long", seconds=[minutes * 60.0])
        result: dict[str, float] = {"files": files, "minutes": minutes, "chunk_ms": CHUNK_MS}
        result |= _rounded(short=_ours(short, root, rounds), hour=_ours(long, root))
        result = {key.replace("short_", f"short{SHORT}_"): value for key, value in result.items()}
        if speedup:
            result |= _speedup(short, root, min(files, 100), rounds=min(rounds, 2))
        theirs = _theirs(python, short, long, root, rounds) if python else {}
    if json_:
        print(json.dumps({**result, "simuleval": theirs} if theirs else result))
    else:
        _print(result, theirs)


def make_recordings(folder: Path, *, seconds: Sequence[float]) -> Path:
    """Lists of 16-bit recordings of faint noise, and a reference of one word per second."""
    import numpy as np
    import soundfile

    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(-300, 300, 16_000 * 10, dtype=np.int16)
    sources, targets = [], []
    for number, length in enumerate(seconds):
        path = folder / f"{number:04d}.wav"
        with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
            left = round(length * 16_000)
            while left:
                file.write(noise[:left])
                left -= min(left, len(noise))
        sources.append(f"{path}\n")
        targets.append(" ".join(["word"] * max(1, round(length))) + "\n")
    (folder / "source.txt").write_text("".join(sources))
    (folder / "target.txt").write_text("".join(targets))
    return folder


def measure(command: Sequence[str], environment: dict[str, str] | None = None) -> Cost:
    """Run a process to its end; DataError with its last words if it fails."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise DataError(f"{' '.join(map(str, command[:4]))} ... failed: {''.join(last)[:300]}")
    scale = 1024 if sys.platform != "darwin" else 1024 * 1024
    return Cost(cpu_s=usage.ru_utime + usage.ru_stime, wall_s=time.monotonic() - began, rss_mb=usage.ru_maxrss / scale)


def _command(folder: Path, out: Path, *, model: str = "NULL", workers: int = 1, limit: int | None = None) -> list[str]:
    limited = [] if limit is None else ["--limit", str(limit)]
    return [
        *(sys.executable, "-P", "-m", "simulst", "evaluate", str(folder)),
        *("--model", f"{null.__file__}:{model}", "--policy", "wait_k"),
        *("--set", "k=3", "--chunk-ms", str(CHUNK_MS), "--workers", str(workers), "--output", str(out), *limited),
    ]


def _ours(folder: Path, root: Path, rounds: int = 1) -> Cost:
    return _best(_command(folder, root / "out"), root / "out", rounds)


def _best(command: Sequence[str], out: Path, rounds: int) -> Cost:
    """The round with the least CPU time: other programs on the same core make all of them slower."""
    costs = []
    for _ in range(rounds):
        costs.append(measure(command))
        shutil.rmtree(out)
    return min(costs, key=lambda cost: cost.cpu_s)


def _speedup(folder: Path, root: Path, limit: int, *, rounds: int) -> dict[str, float]:
    """The busy model over some files with one worker and with two, and a bare loop in one process and in two.

    The loop shows what the machine can give. They take turns, and the best of each counts: other programs slow all.
    """
    loops = null.BUSY_LOOPS * _chunks(folder, limit)
    walls: dict[str, list[float]] = {}
    for _ in range(rounds):
        for workers in (1, 2):
            out = root / f"workers{workers}"
            cost = measure(_command(folder, out, model="BUSY", workers=workers, limit=limit))
            walls.setdefault(f"workers{workers}", []).append(cost.wall_s)
            shutil.rmtree(out)
            walls.setdefault(f"loop{workers}", []).append(_looping(loops, processes=workers))
    best = {name: min(found) for name, found in walls.items()}
    return {
        "workers2_speedup": round(best["workers1"] / best["workers2"], 3),
        "loop2_speedup": round(best["loop1"] / best["loop2"], 3),
    }


def _chunks(folder: Path, limit: int) -> int:
    """Decisions over the first recordings."""
    import soundfile

    paths = (folder / "source.txt").read_text().splitlines()[:limit]
    return sum(math.ceil(soundfile.info(path).duration * 1000 / CHUNK_MS) for path in paths)


def _looping(loops: int, *, processes: int) -> float:
    """Wall time of a bare loop that so many processes share."""
    code = f"from simulst.bench.null import spin; spin({loops // processes})"
    began = time.monotonic()
    running = [subprocess.Popen([sys.executable, "-P", "-c", code]) for _ in range(processes)]
    for process in running:
        process.wait()
    return time.monotonic() - began


def _simuleval_python(named: str) -> str:
    """An interpreter that has SimulEval, "" if there is none."""
    if chosen := named or os.environ.get("SIMULST_SIMULEVAL", ""):
        if shutil.which(chosen) is None:
            raise DataError(f"The interpreter {chosen} does not exist; name a Python that has simuleval and simulst.")
        return chosen
    return sys.executable if importlib.util.find_spec("simuleval") else ""


def _theirs(python: str, short: Path, long: Path, root: Path, rounds: int) -> dict[str, dict[str, float]]:
    """SimulEval as it comes with an agent that does nothing, and with simulst's lazy loader and array states."""
    loader = ("--dataloader", "lazy", "--dataloader-class", "simulst.agents.LazySpeech")
    lazy = [*loader, "--model", f"{null.__file__}:NULL"]
    found: dict[str, dict[str, float]] = {}
    for name, agent, extra in (("stock", STOCK_AGENT, []), ("lazy", STOCK_AGENT.with_name("simuleval_null.py"), lazy)):
        costs = {}
        for key, folder in (("short", short), ("hour", long)):
            out = root / "theirs"
            command = [
                *(python, "-m", "simuleval.cli", "--agent", str(agent), "--output", str(out), "--no-progress-bar"),
                *("--source", f"{folder}/source.txt", "--target", f"{folder}/target.txt"),
                *("--source-segment-size", str(CHUNK_MS), "--latency-metrics", "LAAL", "AL", "AP", "DAL", *extra),
            ]
            costs[key] = _best(command, out, rounds if key == "short" else 1)
        found[name] = {k.replace("short_", f"short{SHORT}_"): v for k, v in _rounded(**costs).items()}
    return found


def _rounded(**costs: Cost) -> dict[str, float]:
    return {
        f"{name}_{key}": round(value, 3 if key.endswith("_s") else 1)
        for name, cost in costs.items()
        for key, value in vars(cost).items()
    }


def _print(result: dict[str, float], found: dict[str, dict[str, float]]) -> None:
    rows = [("simulst evaluate", result)]
    titles = {"stock": "simuleval", "lazy": "simuleval, simulst's loader and states"}
    rows += [(titles[name], costs) for name, costs in found.items()]
    print(f"{'':<40}{result['files']:>5} short files{'':>10}{result['minutes']} minutes")
    for title, row in rows:
        short = f"{row[f'short{SHORT}_cpu_s']:.2f} s CPU {row[f'short{SHORT}_rss_mb']:>6.0f} MB"
        print(f"{title:<40}{short:<26}{row['hour_cpu_s']:.2f} s CPU {row['hour_rss_mb']:>6.0f} MB")
    if "workers2_speedup" in result:
        print(f"two workers: {result['workers2_speedup']:.2f}x one worker; a bare loop: {result['loop2_speedup']:.2f}x")
    if not found:
        print("SimulEval is not installed here; --simuleval PYTHON names an interpreter that has it.")
