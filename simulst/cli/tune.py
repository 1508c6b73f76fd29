"""`simulst tune MODEL --data DIR --latency "StreamLAAL<=2.0"`: the best policy under a limit of latency."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulst.bundled import bundled_path
from simulst.cli import options
from simulst.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulst.eval.data import Dataset
    from simulst.eval.tune.study import Tried, Tuner

NOT_REACHED = 3
"""Exit status where no setting keeps to the limits."""
FEW = 30
"""Items of a half below which intervals are too wide to choose by."""


def tune(
    model: Annotated[str, typer.Argument(help="Name, local directory or hub name.", metavar="MODEL")],
    data: Annotated[
        Path,
        typer.Option(parser=bundled_path, help="Test set; half of it is for the search.", metavar="DIR|manifest.jsonl"),
    ],
    latency: Annotated[str, typer.Option(help='Limit in seconds, such as "StreamLAAL<=2.0".', metavar="METRIC<=S")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; resumes in it.", metavar="OUT")],
    report_data: Annotated[
        Path | None,
        typer.Option(parser=bundled_path, help="Report on this set; all of --data is searched.", metavar="DIR"),
    ] = None,
    device_budget: Annotated[
        str, typer.Option(help='Limit of computing, such as "rtf<=0.5".', metavar="METRIC<=N")
    ] = "",
    policies: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="Search these alone; repeatable.", metavar="NAME")
    ] = None,
    space: Annotated[Path, typer.Option(parser=bundled_path, help="What is searched.", metavar="FILE.toml")] = Path(
        "eval/tune.toml"
    ),
    set_: options.Set = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try.", metavar="N")] = 60,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Begin no trial after this time.", metavar="N")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the search and of the split.", metavar="N")] = 0,
    lang: Annotated[str, typer.Option(help="Target language, if the folder does not name it.", metavar="XX")] = "",
    long: Annotated[bool, typer.Option("--long", help="MuST-C: whole talks instead of segments.")] = False,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
) -> None:
    """Search policies and parameters for the best BLEU within the limit, and write it as a preset (docs/evaluation.md).

    Settings are compared on one half of the items and reported on the other. Run the same command again to go on after
    a stop. The exit status is 3 when no setting keeps to the limit; the closest is reported.
    """
    from simulst.eval.data import open_dataset
    from simulst.eval.run.recipe import Plan
    from simulst.eval.tune.limits import Limit
    from simulst.eval.tune.space import read_space
    from simulst.eval.tune.study import Goal, Tuner, split

    limits = tuple(Limit.parse(text) for text in (latency, device_budget) if text)
    searches = read_space(bundled_path(space), tuple(policies or ()))
    searched, held = open_dataset(data, long=long, lang=lang), None
    if report_data is None:
        searched, held = split(searched, seed)
    else:
        held = open_dataset(report_data, long=long, lang=lang)
    base = Plan(model=model, device=device, dtype=dtype, options=_options(set_ or [], model))
    goal = Goal(limits=limits, trials=trials, minutes=minutes, seed=seed)
    tuner = Tuner(base=base, searches=searches, dataset=searched, output=output, goal=goal, say=_say)
    try:
        found = tuner.run()
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from here.")
        raise typer.Exit(130) from None
    _report(tuner, found, held)


def _options(pairs: list[str], model: str) -> dict[str, object]:
    """Options of the model; parameters of policies are what is searched."""
    from simulst.chosen import read_settings

    settings = read_settings(pairs, policy="offline", model=model)
    if settings.policy:
        raise DataError(
            f"--set {next(iter(settings.policy))} belongs to the policy, whose ranges are in the --space file."
        )
    return dict(settings.model)


def _report(tuner: "Tuner", found: "Sequence[Tried]", held: "Dataset") -> None:
    from simulst.eval.tune.outcome import PAGE_FILE, PRESET_FILE, finals, said, write_outcome

    if not found:
        raise DataError(f"No setting was tried on all items in {tuner.output}; give more --trials or --minutes.")
    kept = [tried for tried in found if tried.excess <= 0]
    best = finals(tuner, kept or found[:1], held)
    write_outcome(tuner, found, best, held)
    limits = ", ".join(map(str, tuner.goal.limits))
    print(
        f"{limits}, on {len(held.items)} items that were not searched:"
        if kept
        else f"Nothing keeps to {limits}; the closest:"
    )
    for one in best:
        print(f"  {one.tried.plan.name}: {said(one, tuner.goal.limits)}")
    if len(held.items) < FEW:
        _say(f"note: {len(held.items)} items are few: differences inside the intervals above mean nothing.")
    print(tuner.output / PRESET_FILE, tuner.output / PAGE_FILE, sep="\n")
    if not kept:
        raise typer.Exit(NOT_REACHED)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
