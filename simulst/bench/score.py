"""`simulst bench score`: resegmentation and scoring, and the same by the reference tools in processes of their own."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, TypedDict

import typer

from simulst.cli import options

WORDS_PER_HOUR = 9000
_SYLLABLES = (
    "ba be bin da der die ein en er ge ha hin in ka le lich ma mit nen no ob pa re sa schen ta ung ver wo zu".split()
)

Talk = tuple[list[str], list[list[str]]]

_MWERALIGN = """
import json, sys, time
from mweralign import mweralign
hypothesis, references = json.load(open(sys.argv[1]))
began = time.perf_counter()
segments = mweralign.align_texts("\\n".join(map(" ".join, references)), " ".join(hypothesis)).split("\\n")
print(json.dumps({"seconds": time.perf_counter() - began, "segments": [" ".join(s.split()) for s in segments]}))
"""
_OMNISTEVAL = """
import json, sys, time
from omnisteval.alignment import Word, align_sequences, process_alignment
hypothesis, references = json.load(open(sys.argv[1]))
ref = [Word(word.lower(), seq_id=k) for k, words in enumerate(references) for word in words]
hyp = [Word(word.lower()) for word in hypothesis]
began = time.perf_counter()
found = process_alignment(*align_sequences(ref, hyp, False), False)
seconds = time.perf_counter() - began
segments = [[] for _ in references]
for given, word in zip(hypothesis, found):
    segments[word.seq_id].append(given)
print(json.dumps({"seconds": seconds, "segments": list(map(" ".join, segments))}))
"""


def score(
    repeat: Annotated[int, typer.Option(help="Runs of each measurement; the median counts.", min=1, metavar="N")] = 3,
    reference_python: Annotated[
        Path | None,
        typer.Option(
            help="Interpreter that has mweralign and OmniSTEval (default: the one in the folder of `mweralign`).",
            metavar="FILE",
        ),
    ] = None,
    json_: options.Json = False,
) -> None:
    """Resegment a stream of one hour (9000 words) and 10 h as 60 talks, and score a one-hour log from the shell."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), repeat, _reference_python(reference_python))
    if json_:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(
            f"{name:<28}{'not installed' if value is None else value if isinstance(value, bool) else round(value, 3)}"
        )


class Reference(TypedDict):
    """What a reference tool prints."""

    seconds: float
    segments: list[str]


def measure(folder: Path, repeat: int, python: Path | None) -> dict[str, float | bool | None]:
    """All figures; seconds are wall time, `_cpu_s` processor time, None where a reference tool is absent."""
    hour, talks, short = talk(WORDS_PER_HOUR, 1), [talk(1500, seed) for seed in range(60)], talk(1500, 2)
    _resegment(talk(60, 0))
    _soften(talk(60, 0))
    found: dict[str, float | bool | None] = {}
    found["resegment_1h_s"], found["resegment_1h_cpu_s"] = _timed(lambda: _resegment(hour), repeat)
    theirs = _reference(python, _MWERALIGN, hour, folder)
    found["mweralign_1h_s"] = theirs["seconds"] if theirs else None
    found["mweralign_same_segments"] = theirs["segments"] == _resegment(hour) if theirs else None
    found["resegment_10h_60talks_s"], _ = _timed(lambda: [_resegment(one) for one in talks], repeat)
    found["soft_1h_s"], _ = _timed(lambda: _soften(hour), repeat)
    found["soft_10min_s"], _ = _timed(lambda: _soften(short), repeat)
    theirs = _reference(python, _OMNISTEVAL, short, folder)
    found["omnisteval_10min_s"] = theirs["seconds"] if theirs else None
    found["omnisteval_same_segments"] = theirs["segments"] == _soften(short) if theirs else None
    files = _write_log(folder, hour)
    for name, profile in (("score_1h", "streamlaal-fbk"), ("score_1h_omnisteval", "omnisteval")):
        runs = [_shell(files, profile) for _ in range(repeat + 1)][1:]  # the first fills the caches
        found[f"{name}_s"] = median(seconds for seconds, _ in runs)
        found[f"{name}_rss_mb"] = max(memory for _, memory in runs)
    return found


def talk(words: int, seed: int) -> Talk:
    """A hypothesis and its reference segments of 15 words: 20 % substituted, 10 % deleted, 10 % inserted."""
    generator = random.Random(seed)
    vocabulary = ["".join(generator.choices(_SYLLABLES, k=generator.choice((1, 2, 2, 3, 4)))) for _ in range(8000)]

    def word() -> str:
        return vocabulary[min(7999, int(generator.paretovariate(0.7)) - 1)]

    reference = [word() for _ in range(words)]
    hypothesis = []
    for spoken in reference:
        chance = generator.random()
        if chance >= 0.1:
            hypothesis.append(word() if chance < 0.3 else spoken)
        if generator.random() < 0.1:
            hypothesis.append(word())
    return hypothesis, [reference[k : k + 15] for k in range(0, words, 15)]


def _resegment(one: Talk) -> list[str]:
    from simulst.eval.segment.resegmentation import segment_ends

    hypothesis, references = one
    ends = segment_ends(hypothesis, references)
    return [" ".join(hypothesis[a:b]) for a, b in zip([0, *ends], ends, strict=False)]


def _soften(one: Talk) -> list[str]:
    from simulst.eval.segment.soft_alignment import ReferenceUnit, assign_segments

    hypothesis, references = one
    units = [ReferenceUnit(text=word, segment=k) for k, words in enumerate(references) for word in words]
    segments: list[list[str]] = [[] for _ in references]
    for word, segment in zip(hypothesis, assign_segments(hypothesis, units, "word"), strict=True):
        segments[segment].append(word)
    return list(map(" ".join, segments))


def _timed(run: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Median wall and processor seconds."""
    wall, processor = [], []
    for _ in range(repeat):
        began, spent = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - spent)
    return median(wall), median(processor)


def _reference_python(chosen: Path | None) -> Path | None:
    found = shutil.which("mweralign")
    return chosen or (Path(found).resolve().parent / "python" if found else Path(sys.executable))


def _reference(python: Path | None, code: str, one: Talk, folder: Path) -> Reference | None:
    """Run a reference tool in its own process, which no line of ours is linked with."""
    if python is None or not python.exists():
        return None
    (folder / "talk.json").write_text(json.dumps(one))
    command = [str(python), "-c", code, str(folder / "talk.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    result: Reference = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _write_log(folder: Path, one: Talk) -> dict[str, Path]:
    """The hour as a SimulEval log with its segments and references."""
    from simulst.eval.data.segmentation import Segment, write_segmentation
    from simulst.eval.logs.instances import Instance, write_instances

    hypothesis, references = one
    per_word = 3600.0 / WORDS_PER_HOUR
    times = tuple(min(3.6e6, 1000.0 * (1 + int(k * 3600 / len(hypothesis)) + 2)) for k in range(len(hypothesis)))
    files = {name: folder / name for name in ("instances.log", "segments.yaml", "ref.txt")}
    instance = Instance(
        index=0,
        source="hour.wav",
        prediction=" ".join(hypothesis),
        delays_ms=times,
        elapsed_ms=tuple(time + 0.2 * k for k, time in enumerate(times)),
        source_length_ms=3.6e6,
        reference="",
    )
    write_instances(files["instances.log"], [instance])
    segments = [
        Segment(index=k, wav="hour.wav", offset_s=15 * k * per_word, duration_s=len(words) * per_word)
        for k, words in enumerate(references)
    ]
    write_segmentation(files["segments.yaml"], segments)
    files["ref.txt"].write_text("".join(" ".join(words) + "\n" for words in references))
    return files


def _shell(files: dict[str, Path], profile: str) -> tuple[float, float]:
    """Wall seconds of `simulst score`, start-up and all, and its peak memory in MB."""
    command = [sys.executable, "-P", "-m", "simulst", "score", str(files["instances.log"]), "--profile", profile]
    command += ["--references", str(files["ref.txt"]), "--segmentation", str(files["segments.yaml"]), "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - began, usage.ru_maxrss / 1024
