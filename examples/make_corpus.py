"""A small test set in MuST-C's layout: `python examples/make_corpus.py` rewrites examples/corpus from its two texts.

Three talks of ten sentences, our own (same licence as the project). They are spoken by voices that training does not
use where those are installed (festival kal and ked, RHVoice lyubov), else by flite or pico, else every sentence becomes
a row of tones, which is enough for tests that look at form.
"""

import argparse
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from simulst.audio import SAMPLE_RATE
from simulst.cli import answered
from simulst.training.speech import trim_silence
from simulst.training.synthesis import speak

SPLIT = Path(__file__).parent / "corpus" / "en-de" / "data" / "tst-COMMON"
TALKS = ("talk_1", "talk_2", "talk_3")
SENTENCES = 10
VOICES = (("festival-ked", "flite-rms"), ("rhvoice-lyubov", "flite-slt"), ("festival-kal", "pico-en-GB"))
PROGRAMS = {"festival": "text2wave", "rhvoice": "RHVoice-test", "flite": "flite", "pico": "pico2wave"}

Samples = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=SPLIT, help="split folder (default: the bundled one)")
    parser.add_argument("--tones", action="store_true", help="no speech even where there are voices")
    arguments = parser.parse_args()
    build(arguments.output, tones=arguments.tones)


def build(split: Path, *, tones: bool = False) -> None:
    """Write wav/*.flac and txt/tst-COMMON.{yaml,en,de} below `split`; the two texts are copied from the bundled set."""
    (split / "wav").mkdir(parents=True, exist_ok=True)
    (split / "txt").mkdir(parents=True, exist_ok=True)
    name = SPLIT.name
    for language in ("en", "de"):
        text = SPLIT / "txt" / f"{name}.{language}"
        if split.resolve() != SPLIT.resolve():
            shutil.copy(text, split / "txt" / text.name)
    sentences = (SPLIT / "txt" / f"{name}.en").read_text(encoding="utf-8").splitlines()
    rng, lines = random.Random(0), list[str]()
    for number, talk in enumerate(TALKS):
        voice = "" if tones else _voice(VOICES[number])
        pieces, at = [_silence(0.5)], 0.5
        for sentence in sentences[number * SENTENCES : (number + 1) * SENTENCES]:
            clip = _spoken(sentence, voice, rng)
            duration = len(clip) / SAMPLE_RATE
            lines.append(
                f"- {{duration: {duration:.6f}, offset: {at:.6f}, rW: {len(sentence.split())}, "
                f"speaker_id: {voice or 'tones'}, uW: 0, wav: {talk}.flac}}\n"
            )
            pause = _silence(round(rng.uniform(0.35, 0.8), 2))
            pieces += [clip, pause]
            at += (len(clip) + len(pause)) / SAMPLE_RATE
        soundfile.write(split / "wav" / f"{talk}.flac", np.concatenate(pieces), SAMPLE_RATE, subtype="PCM_16")
    (split / "txt" / f"{name}.yaml").write_text("".join(lines), encoding="utf-8")


def _voice(choices: tuple[str, ...]) -> str:
    return next((voice for voice in choices if shutil.which(PROGRAMS[voice.split("-")[0]])), "")


def _spoken(sentence: str, voice: str, rng: random.Random) -> Samples:
    """A clip of whole milliseconds."""
    clip = trim_silence(speak(sentence, voice, rng).astype(np.float32) / 32768) if voice else _tones(sentence)
    clip = clip * np.float32(0.5 / np.abs(clip).max())
    return np.pad(clip, (0, -len(clip) % (SAMPLE_RATE // 1000)))


def _tones(sentence: str) -> Samples:
    """A tone of 0.3 s per word, its pitch from the letters."""
    time = np.arange(int(0.3 * SAMPLE_RATE)) / SAMPLE_RATE
    fade = np.minimum(1, 40 * np.minimum(time, time[::-1]))
    words = [np.sin(2 * np.pi * (120 + 13 * (sum(map(ord, word)) % 30)) * time) * fade for word in sentence.split()]
    row: Samples = np.concatenate(words).astype(np.float32)
    return row


def _silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


if __name__ == "__main__":
    sys.exit(answered(main))
