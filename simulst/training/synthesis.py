"""Speech for training: many sentences spoken by free synthesisers, one resumable shard per worker.

A shard is a pair of files: ``NNN.s16`` (raw 16 kHz mono int16, clips end to end) and ``NNN.tsv`` with a line per clip:
sentence number, voice, first sample, number of samples. A line is written only after its samples, so a killed worker
loses at most the clip it was speaking.
"""

import multiprocessing
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulst.audio.samples import SAMPLE_RATE
from simulst.errors import DataError

Command = Callable[[str, str, random.Random], tuple[list[str], str | None]]


def _escape(text: str) -> str:
    return text.replace("&", "and").replace("<", " ").replace(">", " ")


def _pico(language: str) -> Command:
    def command(text: str, wav: str, rng: random.Random) -> tuple[list[str], str | None]:
        pitch, speed = rng.randint(85, 120), rng.randint(82, 125)
        marked = f"<pitch level='{pitch}'><speed level='{speed}'>{_escape(text)}</speed></pitch>"
        return ["pico2wave", "-l", language, "-w", wav, marked], None

    return command


def _flite(voice: str) -> Command:
    def command(text: str, wav: str, rng: random.Random) -> tuple[list[str], str | None]:
        stretch = f"duration_stretch={rng.uniform(0.82, 1.18):.2f}"
        return ["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", wav], None

    return command


def _rhvoice(voice: str) -> Command:
    def command(text: str, wav: str, rng: random.Random) -> tuple[list[str], str | None]:
        return ["RHVoice-test", "-p", voice, "-r", str(rng.randint(85, 120)), "-o", wav], text

    return command


def _festival(voice: str) -> Command:
    def command(text: str, wav: str, rng: random.Random) -> tuple[list[str], str | None]:
        return ["text2wave", "-eval", f"(voice_{voice})", "-o", wav], text

    return command


def _espeak(voice: str) -> Command:
    def command(text: str, wav: str, rng: random.Random) -> tuple[list[str], str | None]:
        speed, pitch = rng.randint(135, 190), rng.randint(30, 70)
        return ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", wav, text], None

    return command


VOICES: dict[str, Command] = {
    "pico-en-US": _pico("en-US"),
    "pico-en-GB": _pico("en-GB"),
    "pico-de-DE": _pico("de-DE"),
    "flite-kal16": _flite("kal16"),
    "flite-rms": _flite("rms"),
    "flite-slt": _flite("slt"),
    "flite-awb": _flite("awb"),
    "rhvoice-clb": _rhvoice("clb"),
    "rhvoice-bdl": _rhvoice("bdl"),
    "rhvoice-slt": _rhvoice("slt"),
    "rhvoice-lyubov": _rhvoice("lyubov"),
    "festival-slt-hts": _festival("cmu_us_slt_arctic_hts"),
    "festival-kal": _festival("kal_diphone"),
    "festival-ked": _festival("ked_diphone"),
    "espeak-en-us": _espeak("en-us"),
    "espeak-en-gb": _espeak("en-gb"),
    "espeak-en-us-f3": _espeak("en-us+f3"),
    "espeak-en-gb-m3": _espeak("en-gb+m3"),
    "mbrola-us1": _espeak("mb-us1"),
    "mbrola-us2": _espeak("mb-us2"),
    "mbrola-us3": _espeak("mb-us3"),
    "mbrola-de5": _espeak("mb-de5"),
    "mbrola-de6": _espeak("mb-de6"),
    "mbrola-de7": _espeak("mb-de7"),
}


def speak(text: str, voice: str, rng: random.Random) -> npt.NDArray[np.int16]:
    """One clip: int16 mono at 16 kHz.

    Raises DataError for an unknown voice, RuntimeError when the synthesiser fails or says nothing.
    """
    import soundfile
    import soxr

    if voice not in VOICES:
        raise _unknown(voice)
    with tempfile.NamedTemporaryFile(suffix=".wav", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as wav:
        command, stdin = VOICES[voice](text, wav.name, rng)
        done = subprocess.run(
            command, input=stdin, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60
        )
        if done.returncode or os.path.getsize(wav.name) < 3_000:
            raise RuntimeError(f"{command[0]} could not speak {text!r} (exit {done.returncode})")
        audio, rate = soundfile.read(wav.name, dtype="float32")
    if audio.ndim > 1:
        audio = audio.mean(axis=1)
    if rate != SAMPLE_RATE:
        audio = soxr.resample(audio, rate, SAMPLE_RATE, quality="HQ")
    clip: npt.NDArray[np.int16] = (np.clip(audio, -1, 1) * 32767).astype(np.int16)
    return clip


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Where one spoken sentence is: shard file, first sample, number of samples."""

    sentence: int
    voice: str
    shard: Path
    start: int
    samples: int


def read_index(folder: Path) -> list[Clip]:
    """Every finished clip of a folder written by :func:`synthesise`."""
    clips = []
    for tsv in sorted(folder.glob("*.tsv")):
        for line in tsv.read_text().splitlines():
            parts = line.split("\t")
            if len(parts) == 4:
                sentence, voice, start, samples = parts
                clips.append(
                    Clip(
                        sentence=int(sentence),
                        voice=voice,
                        shard=tsv.with_suffix(".s16"),
                        start=int(start),
                        samples=int(samples),
                    )
                )
    return clips


def _worker(jobs: list[tuple[int, str, str]], shard: Path, seed: int) -> None:
    done = read_index_of(shard)
    end = max((start + samples for _, _, start, samples in done), default=0)
    seen = {(sentence, voice) for sentence, voice, _, _ in done}
    todo = [job for job in jobs if (job[0], job[2]) not in seen]
    began, spoken = time.monotonic(), 0
    shard.touch()
    with shard.open("r+b") as samples_file, shard.with_suffix(".tsv").open("a") as index:
        samples_file.truncate(2 * end)
        samples_file.seek(2 * end)
        if index.tell() and not shard.with_suffix(".tsv").read_bytes().endswith(b"\n"):
            index.write("\n")  # a torn line ends here
        for number, (sentence, text, voice) in enumerate(todo):
            try:
                clip = speak(text, voice, random.Random(f"{seed}/{sentence}/{voice}"))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{shard.stem}: left out: {error}", flush=True)
                continue
            samples_file.write(clip.tobytes())
            samples_file.flush()
            index.write(f"{sentence}\t{voice}\t{end}\t{len(clip)}\n")
            index.flush()
            end += len(clip)
            spoken += 1
            if number % 500 == 499:
                rate = spoken / (time.monotonic() - began)
                left = (len(todo) - number) / rate
                print(f"{shard.stem}: {len(seen) + spoken} clips, {rate:.0f}/s, {left / 60:.1f} min left", flush=True)


def read_index_of(shard: Path) -> list[tuple[int, str, int, int]]:
    """(sentence, voice, first sample, samples) of one shard; torn lines are ignored."""
    tsv = shard.with_suffix(".tsv")
    rows = [line.split("\t") for line in tsv.read_text().splitlines()] if tsv.exists() else []
    return [(int(r[0]), r[1], int(r[2]), int(r[3])) for r in rows if len(r) == 4]


def _unknown(voice: str) -> DataError:
    return DataError(f"Unknown voice {voice!r}; known: {', '.join(VOICES)}.")


def _check(voices: Collection[str]) -> None:
    if not voices:
        raise DataError("No voice is named; write NAME = WEIGHT under [data.voices] and [data.dev_voices].")
    for voice in voices:
        if voice not in VOICES:
            raise _unknown(voice)
        program = VOICES[voice]("", "", random.Random(0))[0][0]
        if shutil.which(program) is None:
            raise DataError(f"The voice {voice!r} needs {program}; install it, or take the voice out of the recipe.")


def synthesise(
    sentences: Sequence[tuple[int, str]],
    voices: dict[str, float],
    folder: Path,
    *,
    workers: int = 2,
    seed: int = 0,
) -> None:
    """Speak each (number, sentence) once, voices drawn with the given weights; resumes where it was stopped.

    Raises DataError for no voices, for unknown ones and for those whose program is not installed.
    """
    if sentences:
        _check(voices)
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    names, weights = list(voices), list(voices.values())
    jobs = [(number, text, rng.choices(names, weights)[0]) for number, text in sentences]
    rng.shuffle(jobs)
    processes = [
        multiprocessing.Process(target=_worker, args=(jobs[w::workers], folder / f"{w:03d}.s16", seed))
        for w in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"a synthesis worker failed; run again to go on from {folder}")
