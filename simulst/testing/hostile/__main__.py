"""`python -m simulst.testing.hostile KIND FOLDER`: write hostile inputs, each with the command to try on it."""

import argparse
import random
import shlex
from pathlib import Path

from simulst.testing.hostile import KINDS, edited, seeds_of
from simulst.testing.hostile.edits import RANGE


def write_corpus(kind: str, folder: Path, cases: int, seed: int = 0) -> None:
    """`cases` folders 00000, 00001, ..., the same for the same `seed`; `command` in each is the line to run there."""
    chance, seeds = random.Random(f"{kind} {seed}"), seeds_of(kind)
    for number in range(cases):
        chosen = chance.choice(seeds)
        target = chance.choice(chosen.targets)
        edits = [
            (chance.randrange(RANGE), chance.randrange(RANGE), chance.randrange(RANGE))
            for _ in range(chance.randint(1, 3))
        ]
        files = {**chosen.files, target: edited(chosen.files[target], Path(target).suffix, edits)}
        place = folder / f"{number:05}"
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        stdin = f" < {shlex.quote(target)}" if "-" in chosen.command else ""
        (place / "command").write_text(f"simulst {shlex.join(chosen.command)}{stdin}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulst.testing.hostile", description=__doc__)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    write_corpus(chosen.kind, chosen.folder, chosen.cases, chosen.seed)


if __name__ == "__main__":
    main()
