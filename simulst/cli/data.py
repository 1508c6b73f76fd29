"""`simulst data`: check test sets before a long run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulst.bundled import bundled_path
from simulst.cli import options
from simulst.errors import DataError

if TYPE_CHECKING:
    from simulst.eval.data import Dataset, Problem

data = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Check a test set, or turn one into SimulEval's lists.",
)

Long = Annotated[bool, typer.Option("--long", help="MuST-C: whole talks instead of segments.")]
Lang = Annotated[str, typer.Option(help="Target language, if the folder does not name it.", metavar="XX")]
Source = Annotated[
    Path,
    typer.Argument(parser=bundled_path, help="MuST-C split, folder with source.txt, or manifest.jsonl.", metavar="DIR"),
]


@data.callback()
def _group() -> None:
    pass


@data.command()
def check(
    source: Source,
    long: Long = False,
    lang: Lang = "",
    dataset: options.Dataset = "",
    deep: Annotated[bool, typer.Option("--deep", help="Decode all audio too; finds damaged recordings.")] = False,
    json_: options.Json = False,
) -> None:
    """Say what is in a test set and what is wrong with it; exit status 2 if it cannot be evaluated as it is."""
    from simulst.eval.data import open_dataset

    found = open_dataset(source, long=long, lang=lang, kind=dataset)
    problems = [*found.problems, *(_decoded(found) if deep else [])]
    fatal = sum(problem.fatal for problem in problems)
    if json_:
        print(json.dumps(_document(found, problems), ensure_ascii=False))
    else:
        print(_summary(found))
        for problem in problems:
            print(f"{'error' if problem.fatal else 'note'}: {problem}")
    if fatal:
        what, them = ("1 error", "it") if fatal == 1 else (f"{fatal} errors", "them")
        raise DataError(f"{source} has {what}; fix {them}, or evaluate with --skip-bad.")


@data.command()
def lists(
    source: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for source.txt, target.txt, wav/.")],
    long: Long = False,
    lang: Lang = "",
    dataset: options.Dataset = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first items.", metavar="N")] = None,
) -> None:
    """Write SimulEval's lists; segments of longer recordings are cut into wav files of their own."""
    from simulst.eval.data import open_dataset
    from simulst.eval.data.export import write_lists

    found, _ = open_dataset(source, long=long, lang=lang, kind=dataset).first(limit).usable(skip_bad=False)
    cut = write_lists(found, output)
    print(f"{output}: {len(found.items)} lines, {cut} wav files cut")


def _summary(dataset: "Dataset") -> str:
    from simulst.sinks.clock import clock

    talks = len({item.audio for item in dataset.items})
    languages = f", {dataset.source_lang or '?'} to {dataset.target_lang}" if dataset.target_lang else ""
    segments = f", {len(dataset.segments)} reference segments" if dataset.segments is not None else ""
    return (
        f"{dataset.name}: {len(dataset.items)} items of {talks} recordings{segments}, {clock(round(dataset.audio_s))} "
        f"of audio{languages}"
    )


def _decoded(dataset: "Dataset") -> "list[Problem]":
    """What turns up when every recording is decoded once."""
    from simulst.audio import open_file
    from simulst.errors import AudioError
    from simulst.eval.data import Problem

    found = []
    for path in dict.fromkeys(item.audio for item in dataset.items):
        first = next(item for item in dataset.items if item.audio == path)
        try:
            with open_file(path) as stream:
                for _ in stream:
                    pass
        except AudioError as error:
            found.append(Problem(where=first.where, what=str(error).rstrip("."), index=first.index))
    return found


def _document(dataset: "Dataset", problems: "list[Problem]") -> dict[str, object]:
    return {
        "name": dataset.name,
        "form": dataset.form,
        "items": len(dataset.items),
        "recordings": len({item.audio for item in dataset.items}),
        "segments": None if dataset.segments is None else len(dataset.segments),
        "audio_s": round(dataset.audio_s, 3),
        "source_lang": dataset.source_lang,
        "target_lang": dataset.target_lang,
        "fingerprint": dataset.fingerprint,
        "problems": [{"where": p.where, "what": p.what, "fatal": p.fatal} for p in problems],
    }
