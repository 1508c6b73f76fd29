"""Speech whose timing is known, to judge attention heads by: a manifest with times per target word, or joined clips."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from simulst.audio.files import read_audio
from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.core.translator import Translator, Vocabulary
from simulst.errors import DataError

Span = tuple[float, float]

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a"})
PAUSE_S = 0.5


@runtime_checkable
class Encodes(Vocabulary, Protocol):
    """A vocabulary that turns text into ids as well."""

    def encode(self, text: str) -> list[int]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedExample:
    """Target ids forced on audio, and when what each of them translates was said (None: not known)."""

    name: str
    samples: FloatArray
    ids: tuple[int, ...]
    spans: tuple[Span | None, ...]


def read_examples(data: Path, model: Translator, *, join: int, limit: int) -> Iterator[TimedExample]:
    """Examples from a manifest (.jsonl) or from clips, `limit` of them at most.

    A line of a manifest is {"audio": file, "target": text, "spans": [[start_s, end_s] or null per word of the text]}.
    Clips come from a folder, from `source.txt` in it, or from a text file of paths; they need no text: the model
    translates each alone, then `join` of them in a row are one example in which every token belongs to its clip.
    Raises DataError, one sentence, for what cannot be read.
    """
    if not data.exists():
        raise DataError(f"The calibration data {data} does not exist.")
    if data.suffix == ".jsonl":
        yield from _from_manifest(data, model, limit)
    else:
        yield from _from_clips(_clip_paths(data), model, join=join, limit=limit)


def _from_manifest(manifest: Path, model: Translator, limit: int) -> Iterator[TimedExample]:
    vocabulary = model.vocabulary
    if not isinstance(vocabulary, Encodes):
        raise DataError(f"{model.name} cannot encode text; calibrate it on clips (a folder of audio) instead.")
    for number, line in enumerate(_lines(manifest)[:limit], start=1):
        where = f"{manifest}:{number}"
        try:
            entry = json.loads(line)
            audio, target = str(entry["audio"]), str(entry["target"])
            spans = [None if span is None else (float(span[0]), float(span[1])) for span in entry["spans"]]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(
                f'{where} must be {{"audio": file, "target": text, "spans": [[start_s, end_s], null, ...]}}: {error!r}.'
            ) from error
        if len(spans) != len(target.split()):
            raise DataError(f"{where} has {len(spans)} spans for the {len(target.split())} words of its target.")
        ids = tuple(vocabulary.encode(f" {target.strip()}"))
        words = word_indices(ids, vocabulary)
        of_token = [spans[word] if word < len(spans) else None for word in words]
        yield TimedExample(name=where, samples=read_audio(manifest.parent / audio), ids=ids, spans=tuple(of_token))


def word_indices(ids: Sequence[int], vocabulary: Vocabulary) -> list[int]:
    """The word that each token belongs to, counted from 0."""
    words, current = list[int](), -1
    for token in ids:
        current += vocabulary.starts_word(token) or current < 0
        words.append(current)
    return words


def _from_clips(paths: Sequence[Path], model: Translator, *, join: int, limit: int) -> Iterator[TimedExample]:
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), dtype=np.float32)
    made, group, length_s = 0, list[tuple[FloatArray, tuple[int, ...]]](), 0.0
    for path in paths:
        samples = read_audio(path)
        clip_s = len(samples) / SAMPLE_RATE + PAUSE_S
        if clip_s * 2 > model.max_source_s:
            continue
        if group and (len(group) == join or length_s + clip_s > model.max_source_s):
            if len(group) > 1:
                yield _joined(f"clips up to {path}", group, pause)
                made += 1
            group, length_s = [], 0.0
        if made >= limit:
            return
        ids = _own_words(model, samples)
        if ids:
            group.append((samples, ids))
            length_s += clip_s
    if len(group) > 1:
        yield _joined(f"clips up to {paths[-1]}", group, pause)


def _joined(name: str, group: Sequence[tuple[FloatArray, tuple[int, ...]]], pause: FloatArray) -> TimedExample:
    pieces, ids, spans, start = list[FloatArray](), list[int](), list[Span | None](), 0.0
    for samples, own in group:
        end = start + (len(samples) + len(pause)) / SAMPLE_RATE
        pieces += [samples, pause]
        ids += own
        spans += [(start, end)] * len(own)
        start = end
    return TimedExample(name=name, samples=np.concatenate(pieces), ids=tuple(ids), spans=tuple(spans))


def _own_words(model: Translator, samples: FloatArray) -> tuple[int, ...]:
    session = model.open()
    session.extend_source(samples, is_final=True)
    return session.hypothesise(())[0].ids


def _clip_paths(data: Path) -> list[Path]:
    if data.is_dir() and not (data / "source.txt").is_file():
        found = sorted(path for path in data.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    else:
        listing = data / "source.txt" if data.is_dir() else data
        found = [listing.parent / line.strip() for line in _lines(listing)]
    if len(found) < 2:
        raise DataError(f"{data} must name at least two audio files: each is one clip of a joined example.")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as a list of files ({error or type(error).__name__}); give a folder of audio, "
            "a text file of paths, or a .jsonl manifest."
        ) from error
