"""MuST-C v1 and v2: SPLIT/wav/*.wav, SPLIT/txt/SPLIT.yaml, SPLIT/txt/SPLIT.en, SPLIT/txt/SPLIT.de."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from simulst.errors import DataError
from simulst.eval.data.item import Dataset, Item, Problem, blank_references, check_count
from simulst.eval.data.kind import DatasetKind
from simulst.eval.data.probe import Probe, stretch_error
from simulst.eval.data.segmentation import Segment, read_lines, read_references, read_segmentation, segment_places


def is_mustc(folder: Path) -> bool:
    return (folder / "txt").is_dir() and any((folder / "txt").glob("*.yaml"))


def split_folders(root: Path) -> list[Path]:
    """Split folders somewhere below a MuST-C root."""
    found = {path.parent.parent for depth in ("*", "*/*", "*/*/*") for path in root.glob(f"{depth}/txt/*.yaml")}
    return sorted(folder for folder in found if is_mustc(folder))


class MustC(DatasetKind):
    what = "a MuST-C split"
    signs = "wav/ and txt/SPLIT.yaml (MuST-C)"

    def matches(self, place: Path) -> bool:
        return is_mustc(place)

    def read(self, place: Path, *, long: bool, lang: str) -> Dataset:
        return read_mustc(place, long=long, lang=lang)

    def hint(self, place: Path) -> str:
        splits = split_folders(place)
        listed = ", ".join(str(split) for split in splits[:6])
        return f"{place} holds whole MuST-C splits; give one of them: {listed}." if splits else ""


def read_mustc(folder: Path, *, long: bool, lang: str = "") -> Dataset:
    """One split: an item per segment, or with `long` one per talk. `lang` chooses among several target texts.

    Raises DataError where the files contradict each other; what is wrong with single segments is in `problems`.
    """
    yaml = _segmentation_file(folder)
    source_lang, target_lang = _languages(folder, yaml.stem, lang)
    references = yaml.with_suffix(f".{target_lang}")
    lines = read_references(references)
    segments = read_segmentation(yaml, lines, references_name=f"{references.name} has")
    transcripts = _transcripts(yaml.with_suffix(f".{source_lang}"), len(segments)) if source_lang else None
    places = segment_places(yaml, len(segments))
    problems = blank_references(lines, references.name)
    audio = {wav: _audio_file(folder / "wav", wav, places[i]) for i, wav in _first_mentions(segments)}
    probe = Probe(audio.values())
    short = [_segment_item(s, audio[s.wav], places[s.index], transcripts, probe) for s in segments]
    problems += [problem for _, found in short for problem in found]
    items = _talks(segments, audio, places, probe) if long else [item for item, _ in short]
    if long:
        problems = [_of_talk(problem, segments, items, probe) for problem in problems]
    return Dataset(
        name=f"{yaml.stem} {source_lang}-{target_lang}".replace(" -", " "),
        path=folder,
        form="long" if long else "short",
        items=tuple(items),
        segments=tuple(segments) if long else None,
        texts=tuple(transcripts) if long and transcripts else None,
        source_lang=source_lang,
        target_lang=target_lang,
        problems=tuple(dict.fromkeys(problems)),
    )


def _segmentation_file(folder: Path) -> Path:
    found = sorted((folder / "txt").glob("*.yaml"))
    named = folder / "txt" / f"{folder.name}.yaml"
    if named in found:
        return named
    if len(found) != 1:
        listed = ", ".join(path.name for path in found)
        raise DataError(f"{folder / 'txt'} has several segmentations ({listed}); keep {named.name}.")
    return found[0]


def _languages(folder: Path, split: str, lang: str) -> tuple[str, str]:
    """Source and target, from `lang`, the folder en-de above the split, or the texts that are there."""
    texts = [path.suffix[1:] for path in sorted((folder / "txt").glob(f"{split}.*")) if path.suffix != ".yaml"]
    pair = re.fullmatch(r"([a-z]{2,3})-([a-z]{2,3})", folder.resolve().parent.parent.name)
    source = pair[1] if pair and pair[1] in texts else "en" if "en" in texts and len(texts) > 1 else ""
    if lang:
        if lang not in texts:
            raise DataError(f"{folder / 'txt'} has no {split}.{lang}; it has {', '.join(texts) or 'no text'}.")
        return source if source != lang else "", lang
    targets = [text for text in texts if text != source]
    if pair and pair[2] in targets:
        return source, pair[2]
    if len(targets) != 1:
        have = f"{', '.join(targets)}; choose one with --lang" if targets else "none; add one line per segment"
        raise DataError(f"{folder / 'txt'} needs one target text {split}.LANGUAGE but has {have}.")
    return source, targets[0]


def _transcripts(path: Path, count: int) -> list[str] | None:
    if not path.is_file():
        return None
    lines = read_lines(path)
    check_count(path.name, len(lines), "the segmentation", count)
    return lines


def _first_mentions(segments: Sequence[Segment]) -> list[tuple[int, str]]:
    first: dict[str, int] = {}
    for segment in segments:
        first.setdefault(segment.wav, segment.index)
    return [(index, wav) for wav, index in first.items()]


def _audio_file(folder: Path, wav: str, where: str) -> Path:
    """The recording of that name, or the only one of that stem in another format."""
    if Path(wav).is_absolute() or ".." in Path(wav).parts:
        raise DataError(f"{where}: `wav` must be the name of a file in {folder}, not {wav!r}.")
    path = folder / wav
    if path.suffix and path.exists():
        return path
    others = (
        sorted(p for p in path.parent.glob(f"{path.stem}.*") if p.stem == path.stem) if path.parent.is_dir() else []
    )
    return others[0] if len(others) == 1 else path


def _segment_item(
    segment: Segment, audio: Path, where: str, transcripts: list[str] | None, probe: Probe
) -> tuple[Item, list[Problem]]:
    offset_s, duration_s = segment.offset_s or 0.0, segment.duration_s or 0.0
    header = probe(audio, offset_s + duration_s)
    problems = []
    if error := stretch_error(header, audio, offset_s, duration_s):
        problems.append(Problem(where=where, what=error, index=segment.index))
    elif offset_s + duration_s > header.duration_s + 0.001:
        what = f"the segment ends {offset_s + duration_s - header.duration_s:.3f} s after {audio.name}"
        problems.append(Problem(where=where, what=what, fatal=False))
    item = Item(
        index=segment.index,
        audio=audio,
        name=segment.wav,
        offset_s=offset_s,
        duration_s=duration_s,
        audio_s=max(0.0, min(duration_s, header.duration_s - offset_s)),
        reference=segment.reference,
        text=transcripts[segment.index] if transcripts else None,
        where=where,
    )
    return item, problems


def _talks(segments: Sequence[Segment], audio: dict[str, Path], places: list[str], probe: Probe) -> list[Item]:
    items: list[Item] = []
    for first, wav in _first_mentions(segments):
        reference = " ".join(segment.reference.strip() for segment in segments if segment.wav == wav)
        items.append(
            Item(
                index=len(items),
                audio=audio[wav],
                name=wav,
                audio_s=probe(audio[wav]).duration_s,
                reference=reference,
                where=places[first],
            )
        )
    return items


def _of_talk(problem: Problem, segments: Sequence[Segment], talks: Sequence[Item], probe: Probe) -> Problem:
    """The same problem, of the talk that the segment belongs to, or of the segment where the talk has no problem."""
    if problem.index is None:
        return problem
    wav = segments[problem.index].wav
    talk = next(item for item in talks if item.name == wav)
    segment = problem.index if not probe(talk.audio).error else None
    return replace(problem, index=talk.index, segment=segment)
