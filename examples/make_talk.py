"""Speak the example talk: `python examples/make_talk.py` rewrites talk.flac and talk.yaml from talk.en.txt.

Needs festival with the voices kal_diphone and ked_diphone (Debian: festival festvox-kallpc16k festvox-kdlpc16k), whose
licences allow any use; training does not use them.
"""

import random
import sys
from pathlib import Path

import numpy as np
import soundfile

from simulst.audio import SAMPLE_RATE
from simulst.cli import answered
from simulst.training.speech import trim_silence
from simulst.training.synthesis import speak

HERE = Path(__file__).parent


def main() -> None:
    rng = random.Random(0)
    sentences = (HERE / "talk.en.txt").read_text(encoding="utf-8").splitlines()
    pieces, lines, at = [np.zeros(SAMPLE_RATE // 2, np.float32)], [], SAMPLE_RATE // 2
    for number, sentence in enumerate(sentences):
        voice = "festival-ked" if number < len(sentences) // 2 else "festival-kal"
        clip = trim_silence(speak(sentence, voice, rng).astype(np.float32) / 32768)
        clip *= 0.6 / np.abs(clip).max()
        lines.append(
            f"- {{duration: {len(clip) / SAMPLE_RATE:.3f}, offset: {at / SAMPLE_RATE:.3f}, "
            f"speaker_id: {voice}, wav: talk.flac}}\n"
        )
        pause = np.zeros(int(rng.uniform(0.5, 1.1) * SAMPLE_RATE), np.float32)
        pieces += [clip, pause]
        at += len(clip) + len(pause)
    soundfile.write(HERE / "talk.flac", np.concatenate(pieces), SAMPLE_RATE, subtype="PCM_16")
    (HERE / "talk.yaml").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(answered(main))
