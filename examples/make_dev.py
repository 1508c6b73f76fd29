"""A spoken dev set from pairs of sentences: `python examples/make_dev.py dev.tsv --output data/dev-en-de`.

`dev.tsv` holds an English sentence, a tab and its German translation per line, such as the Tatoeba pairs. A recording
is a few sentences by one voice with short pauses, about as long as a MuST-C segment. The voices are ones that training
does not use. With `--reverse` German is spoken and English is the target. The folder is one for `simulst evaluate`:
wav/, source.txt and target.txt, with the spoken text in transcript.txt. With `--talks` recordings are talks in
MuST-C's layout, a segment for each sentence (`--talks --recordings 3 --sentences 110 --skip 330`). The same arguments
make the same set.

Needs festival, RHVoice and espeak-ng with mbrola (Debian: festival festvox-kallpc16k festvox-kdlpc16k rhvoice-english
espeak-ng mbrola-us1 mbrola-us2 mbrola-us3); for German pico2wave, espeak-ng and mbrola-de5, -de6, -de7.
"""

import argparse
import random
import sys
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from simulst.audio import SAMPLE_RATE
from simulst.cli import answered
from simulst.errors import DataError
from simulst.training.speech import trim_silence
from simulst.training.synthesis import speak
from simulst.training.texts import read_pairs

ENGLISH = ("rhvoice-lyubov", "festival-kal", "festival-ked", "mbrola-us1", "mbrola-us2", "mbrola-us3")
GERMAN = ("pico-de-DE", "mbrola-de5", "mbrola-de6", "mbrola-de7")

Samples = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path, help="tab-separated English and German sentences")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--reverse", action="store_true", help="German speech, English target")
    parser.add_argument("--recordings", type=int, default=40)
    parser.add_argument("--sentences", type=int, default=3, help="sentences per recording")
    parser.add_argument("--skip", type=int, default=0, help="sentences at the beginning that are left out")
    parser.add_argument("--talks", action="store_true", help="a split in MuST-C's layout, for long speech")
    parser.add_argument("--voices", nargs="+", help="names as in simulst.training.synthesis.VOICES")
    arguments = parser.parse_args()
    voices = arguments.voices or (GERMAN if arguments.reverse else ENGLISH)
    chosen = distinct([(pair.source, pair.target) for pair in read_pairs(arguments.pairs)], reverse=arguments.reverse)
    languages = ("de", "en") if arguments.reverse else ("en", "de")
    write = partial(build_talks, languages=languages) if arguments.talks else build
    write(chosen[arguments.skip :], arguments.output, voices, arguments.recordings, arguments.sentences)


def distinct(found: list[tuple[str, str]], *, reverse: bool) -> list[tuple[str, str]]:
    """(spoken, target) in the order of the file, each sentence once on either side."""
    seen: set[str] = set()
    chosen = []
    for source, target in found:
        if source not in seen and target not in seen:
            chosen.append((target, source) if reverse else (source, target))
        seen |= {source, target}
    return chosen


def build(
    sentences: list[tuple[str, str]], folder: Path, voices: tuple[str, ...] | list[str], count: int, per_recording: int
) -> None:
    """Write `count` recordings; DataError where there are too few sentences."""
    divided = parts(sentences, count, per_recording)
    (folder / "wav").mkdir(parents=True, exist_ok=True)
    names, targets, spoken = [], [], []
    for number, part in enumerate(divided):
        voice = voices[number % len(voices)]
        name = folder / "wav" / f"{number:03d}_{voice}.flac"
        samples, _ = recording([text for text, _ in part], voice, number)
        soundfile.write(name, samples, SAMPLE_RATE, subtype="PCM_16")
        names.append(f"wav/{name.name}")
        spoken.append(" ".join(text for text, _ in part))
        targets.append(" ".join(text for _, text in part))
    for file, lines in (("source.txt", names), ("target.txt", targets), ("transcript.txt", spoken)):
        (folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")


def build_talks(
    sentences: list[tuple[str, str]],
    split: Path,
    voices: tuple[str, ...] | list[str],
    count: int,
    per_recording: int,
    *,
    languages: tuple[str, str] = ("en", "de"),
) -> None:
    """Write `count` talks with their segments; `languages` are what is spoken and the target. DataError where there
    are too few sentences."""
    divided = parts(sentences, count, per_recording)
    for name in ("wav", "txt"):
        (split / name).mkdir(parents=True, exist_ok=True)
    segments = list[str]()
    for number, part in enumerate(divided):
        voice = voices[number % len(voices)]
        samples, spans = recording([text for text, _ in part], voice, number)
        soundfile.write(split / "wav" / f"talk_{number + 1}.flac", samples, SAMPLE_RATE, subtype="PCM_16")
        segments += [
            f"- {{duration: {(end - start) / SAMPLE_RATE:.6f}, offset: {start / SAMPLE_RATE:.6f}, "
            f"rW: {len(text.split())}, speaker_id: {voice}, uW: 0, wav: talk_{number + 1}.flac}}"
            for (start, end), (text, _) in zip(spans, part, strict=True)
        ]
    spoken, target = zip(*(pair for part in divided for pair in part), strict=True)
    for ending, lines in (*zip(languages, (spoken, target), strict=True), ("yaml", segments)):
        (split / "txt" / f"{split.name}.{ending}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def parts(sentences: list[tuple[str, str]], count: int, size: int) -> list[list[tuple[str, str]]]:
    """The sentences of each recording; DataError where there are too few."""
    if len(sentences) < count * size:
        raise DataError(f"{count} recordings need {count * size} sentences; there are {len(sentences)}.")
    return [sentences[number * size : (number + 1) * size] for number in range(count)]


def recording(texts: list[str], voice: str, seed: int) -> tuple[Samples, list[tuple[int, int]]]:
    """Sentences at half of full level, pauses of 0.3 to 0.6 s between them, and where each begins and ends."""
    rng, spans = random.Random(seed), list[tuple[int, int]]()
    pieces = [silence(0.2)]
    for text in texts:
        clip = trim_silence(speak(text, voice, rng).astype(np.float32) / np.float32(32768))
        start = sum(map(len, pieces))
        spans.append((start, start + len(clip)))
        pieces += [clip * np.float32(0.5 / np.abs(clip).max()), silence(rng.uniform(0.3, 0.6))]
    return np.concatenate(pieces), spans


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


if __name__ == "__main__":
    sys.exit(answered(main))
