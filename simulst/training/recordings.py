"""People's recordings with transcripts: case and punctuation brought back, translations added, stored as speech shards.

A manifest is a tab-separated file with a header: `audio` (a path inside a tar next to it that is named after the first
folder of the path, or a file), `seconds`, `speaker`, `text`. Nobody has translated them: their translation is
made by the text model of the recipe, so their sentences weigh less than real pairs.
"""

import csv
import io
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulst.audio.samples import SAMPLE_RATE
from simulst.errors import DataError

PEOPLE = "people"
"""Voices of recordings are called `people-SPEAKER`."""


@dataclass(frozen=True, kw_only=True)
class RecordingsConfig:
    """Where recordings are and who is kept for development."""

    manifest: str
    held_speakers: tuple[str, ...] = ()
    weight: float = 0.3
    """Of a transcript and its made-up translation as text, next to a real pair."""
    recogniser: str = ""
    """A model that tells case and punctuation of upper-case transcripts; empty: what is usual in the other texts."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    audio: str
    seconds: float
    speaker: str
    text: str


def read_manifest(path: Path) -> list[Recording]:
    """Every line of a manifest; DataError where it is not one."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a tab-separated manifest of recordings.")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if missing := {"audio", "seconds", "speaker", "text"} - set(rows.fieldnames or ()):
            raise DataError(f"{path} has no column {', '.join(sorted(missing))}.")
        return [
            Recording(audio=row["audio"], seconds=float(row["seconds"]), speaker=row["speaker"], text=row["text"])
            for row in rows
        ]


def read_recordings(path: Path, wanted: Sequence[Recording]) -> Iterator[tuple[Recording, npt.NDArray[np.float32]]]:
    """16 kHz mono samples of the wanted recordings, in the order of their archives."""
    by_archive: dict[Path, dict[str, Recording]] = defaultdict(dict)
    for one in wanted:
        archive = path.parent / f"{one.audio.split('/')[0]}.tar"
        by_archive[archive if archive.is_file() else path.parent / one.audio][one.audio] = one
    for place, recordings in by_archive.items():
        for name, data in _members(place, recordings):
            yield recordings[name], _decode(data)


def _members(place: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    if place.suffix != ".tar":
        yield from ((name, place.read_bytes()) for name in names)
        return
    wanted = set(names)
    with tarfile.open(place) as archive:
        for member in archive:
            stored = archive.extractfile(member) if member.name in wanted else None
            if stored is not None:
                yield member.name, stored.read()


def _decode(data: bytes) -> npt.NDArray[np.float32]:
    import soundfile
    import soxr

    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return np.asarray(mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE), np.float32)


class Caser:
    """The usual case of every word, counted in text where it does not begin a sentence."""

    def __init__(self, sentences: Iterable[str]) -> None:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for sentence in sentences:
            for word in re.findall(r"(?<=[a-z,] )[\w'’]+", sentence):
                counts[word.lower()][word] += 1
        self._usual = {word: found.most_common(1)[0][0] for word, found in counts.items()}

    def __call__(self, text: str) -> str:
        """An upper-case line as a sentence."""
        words = [self._usual.get(word.lower(), word.lower()) for word in text.split()]
        return capitalised(" ".join(words)) + "."


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def dressed(text: str, heard: str, usual: Caser) -> str:
    """The words of `text` with case and punctuation of what a recogniser heard, where it heard the same words."""
    plain = usual(text)[:-1].split()
    said = heard.split()
    bare = [re.sub(r"[^\w']", "", word).lower() for word in said]
    for tag, a, end, b, _ in SequenceMatcher(a=[w.lower() for w in plain], b=bare, autojunk=False).get_opcodes():
        if tag == "equal":
            plain[a:end] = said[b : b + end - a]
    dressed = capitalised(" ".join(plain)).rstrip(",;:")
    return dressed if dressed.endswith((".", "?", "!")) else dressed + "."


def sentences_of(text: str) -> list[str]:
    """A transcript cut after its sentences, which are translated one by one."""
    return [one for one in re.split(r"(?<=[.?!])\s+(?=[A-Z\"'])", text) if one]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Appends clips to `FOLDER/NAME.s16` and `.tsv`, as the synthesisers do."""

    folder: Path
    name: str

    def write(self, clips: Iterable[tuple[int, str, npt.NDArray[np.float32]]]) -> None:
        """(sentence, voice, samples) one after the other; what was there is replaced."""
        self.folder.mkdir(parents=True, exist_ok=True)
        end = 0
        with (
            (self.folder / f"{self.name}.s16").open("wb") as out,
            (self.folder / f"{self.name}.tsv").open("w") as index,
        ):
            for sentence, voice, samples in clips:
                out.write((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())
                index.write(f"{sentence}\t{voice}\t{end}\t{len(samples)}\n")
                end += len(samples)


Recogniser = Callable[[npt.NDArray[np.float32]], str]


def transcripts(
    manifest: Path, recordings: Sequence[Recording], usual: Caser, recogniser: Recogniser | None, cache: Path
) -> dict[str, str]:
    """Cased and punctuated text of every recording; `cache` keeps what was done, line by line."""
    done = dict(line.split("\t", 1) for line in cache.read_text().splitlines()) if cache.exists() else {}
    left = [one for one in recordings if one.audio not in done]
    with cache.open("a", encoding="utf-8") as out:
        long = [one for one in left if recogniser is not None and one.text.isupper() and len(one.text.split()) > 12]
        for number, (one, samples) in enumerate(read_recordings(manifest, long), 1):
            assert recogniser is not None
            done[one.audio] = dressed(one.text, recogniser(samples), usual)
            out.write(f"{one.audio}\t{done[one.audio]}\n")
            out.flush()
            if number % 50 == 0:
                print(f"{number}/{len(long)} transcripts recognised", flush=True)
        for one in left:
            if one.audio not in done:
                done[one.audio] = usual(one.text) if one.text.isupper() else one.text
                out.write(f"{one.audio}\t{done[one.audio]}\n")
    return done
