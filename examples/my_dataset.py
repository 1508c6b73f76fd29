"""A kind of test set of one's own, in one file: the tables of CoVoST 2.

    simulst data check cv-corpus/en/covost_v2.en_de.dev.tsv --dataset examples/my_dataset.py:CoVoST
    simulst evaluate cv-corpus/en/covost_v2.en_de.dev.tsv --dataset examples/my_dataset.py:CoVoST --output run

Each line names a clip in the folder `clips` next to the table, what is said in it, and the translation.
"""

import csv
from pathlib import Path

from simulst.errors import DataError
from simulst.eval.data import Dataset, DatasetKind, Item, Problem
from simulst.eval.data.probe import Probe

COLUMNS = {"path", "sentence", "translation"}


class CoVoST(DatasetKind):
    what = "a table of CoVoST 2 such as covost_v2.en_de.dev.tsv"

    def matches(self, place: Path) -> bool:
        return place.name.startswith("covost") and place.suffix == ".tsv"

    def read(self, place: Path, *, long: bool, lang: str) -> Dataset:
        if long:
            raise DataError(f"{place} has clips, not talks; leave --long out.")
        with place.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        if not rows or not COLUMNS <= rows[0].keys():
            raise DataError(f"{place} needs a line of headings with {', '.join(sorted(COLUMNS))}, and lines below it.")
        clips = [place.parent / "clips" / row["path"] for row in rows]
        probe, items, problems = Probe(clips), list[Item](), list[Problem]()
        for index, (row, clip) in enumerate(zip(rows, clips, strict=True)):
            where, header = f"{place.name}, line {index + 2}", probe(clip)
            if header.error:  # the item is left out with --skip-bad
                problems.append(Problem(where=where, what=header.error, index=index))
            items.append(
                Item(
                    index=index,
                    audio=clip,
                    name=row["path"],
                    audio_s=header.duration_s,
                    reference=row["translation"],
                    text=row["sentence"],
                    where=where,
                )
            )
        return Dataset(
            name=place.stem,
            path=place,
            form="short",
            items=tuple(items),
            target_lang=lang or place.stem.partition("_v2.")[2].partition("_")[2].partition(".")[0],
            problems=tuple(problems),
        )
