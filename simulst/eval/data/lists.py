"""SimulEval's lists: source.txt names a recording per line, target.txt has its reference on the same line."""

from pathlib import Path

from simulst.errors import DataError
from simulst.eval.data.item import Dataset, Item, Problem, blank_references
from simulst.eval.data.kind import DatasetKind
from simulst.eval.data.probe import Probe
from simulst.eval.data.segmentation import read_lines, read_references, read_segmentation


class Lists(DatasetKind):
    what = "a folder with source.txt"
    signs = "source.txt (SimulEval)"

    def matches(self, place: Path) -> bool:
        return (place / "source.txt").is_file()

    def read(self, place: Path, *, long: bool, lang: str) -> Dataset:
        if long:
            raise DataError(f"{place} holds lists; --long needs a MuST-C split, or `segmentation` in a recipe.")
        target = place / "target.txt"
        return read_lists(place / "source.txt", target if target.is_file() else None, lang=lang)


def read_lists(
    source: Path,
    target: Path | None,
    *,
    segmentation: Path | None = None,
    references: Path | None = None,
    lang: str = "",
) -> Dataset:
    """A test set of whole recordings; with `segmentation` and `references` they are scored by segment.

    A path is relative to the current folder, as in SimulEval, or else to that of the list. Empty lines at the
    end do not count. Raises DataError where the lists do not fit together.
    """
    names = _without_blank_end(read_lines(source))
    texts: list[str | None] = [None] * len(names)
    problems: list[Problem] = []
    if target is not None:
        lines = [line.strip() for line in read_lines(target)]
        lines = lines[: max(len(names), len(_without_blank_end(lines)))]
        if len(lines) != len(names):
            raise DataError(
                f"{source.name} has {len(names)} recordings but {target.name} has {len(lines)} lines; "
                f"the counts must match."
            )
        texts = list(lines)
        problems += blank_references(lines, target.name)
    if not names:
        raise DataError(f"{source} is empty; give one recording per line.")
    paths = [resolve(name, source.parent) for name in names]
    probe, items = Probe(paths), list[Item]()
    for index, (name, audio, text) in enumerate(zip(names, paths, texts, strict=True)):
        where = f"{source.name}, line {index + 1}"
        header = probe(audio)
        if not name:
            problems.append(Problem(where=where, what="an empty line; every line must name a recording", index=index))
        elif header.error:
            problems.append(Problem(where=where, what=header.error, index=index))
        items.append(Item(index=index, audio=audio, name=name, audio_s=header.duration_s, reference=text, where=where))
    segments = None
    if segmentation is not None:
        if references is None:
            raise DataError("A segmentation needs `references` too, with one line per segment.")
        segments = tuple(
            read_segmentation(segmentation, read_references(references), references_name=f"{references.name} has")
        )
    return Dataset(
        name=source.resolve().parent.name,
        path=source.parent,
        form="short" if segments is None else "long",
        items=tuple(items),
        segments=segments,
        target_lang=lang,
        problems=tuple(problems),
    )


def resolve(name: str, folder: Path) -> Path:
    """Where a line of a list points to."""
    path = Path(name)
    return path if path.is_absolute() or path.exists() or not (folder / path).exists() else folder / path


def _without_blank_end(lines: list[str]) -> list[str]:
    lines = [line.strip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines
