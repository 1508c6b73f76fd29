"""`simulst evaluate RECIPE.toml|DIR --output OUT`: a model and a policy over a test set."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from simulst.cli import evaluate_options as wanted
from simulst.cli import options
from simulst.errors import DataError, PolicyError, SimulstError

if TYPE_CHECKING:
    from simulst.eval.run import Result, Settings
    from simulst.eval.run.gang import Gang
    from simulst.eval.run.recipe import Plan, Recipe
    from simulst.eval.score.runs import Run

SOME_FAILED = 3
FIRST_SAYS_S = 20.0
"""Exit status of a run that has come to its end with items missing, which --skip-bad had not been told to leave out."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the command line says about every run; None: as the recipe says."""

    model: str | None
    policy: str | None
    chunk_ms: int | None
    device: str | None
    dtype: str | None
    unit: str | None
    seed: int | None
    final_only: bool | None
    glossary: str | None
    glossary_boost: float | None


def evaluate(
    source: wanted.Source,
    output: wanted.Output,
    model: wanted.Model = None,
    policy: wanted.Policy = None,
    set_: options.Set = None,
    chunk_ms: options.ChunkMs = None,
    workers: wanted.Workers = 1,
    threads: wanted.Threads = 1,
    batch: wanted.Batch = 1,
    data: wanted.Data = None,
    dataset: options.Dataset = "",
    limit: wanted.Limit = None,
    fresh: wanted.Fresh = False,
    long: wanted.Long = False,
    lang: wanted.Lang = "",
    device: wanted.Device = None,
    dtype: options.Dtype = None,
    unit: wanted.LatencyUnit = None,
    profile: wanted.Profile = None,
    metric: options.Metric = None,
    glossary: options.Glossary = None,
    glossary_boost: wanted.GlossaryBoost = None,
    terms: options.Terms = None,
    seed: wanted.Seed = None,
    final_only: wanted.FinalOnly = False,
    skip_bad: wanted.SkipBad = False,
    trace: wanted.WithTrace = False,
    no_score: wanted.NoScore = False,
    compare_to: wanted.CompareTo = None,
    json_: options.Json = False,
) -> None:
    """Translate every item of a test set and score the result (docs/evaluation.md).

    What is done is kept: run the same command again to go on after Ctrl-C, a crash or a failed item, which errors.jsonl
    names. The exit status is 0 when every item is done, 3 when items failed and the rest is scored, or when the run is
    worse than that of --compare-to. Under torchrun the same command shares the items between its processes.
    """
    from simulst.eval.run import Settings

    chosen = Chosen(
        model=model,
        policy=policy,
        chunk_ms=chunk_ms,
        device=device,
        dtype=dtype,
        unit=unit,
        seed=seed,
        final_only=final_only or None,
        glossary=None if glossary is None else str(glossary),
        glossary_boost=glossary_boost,
    )
    settings = Settings(
        workers=workers, threads=threads, batch=batch, fresh=fresh, skip_bad=skip_bad, trace=trace, score=not no_score
    )
    with _exit_statuses():
        found = _recipe(source, data, long=long, lang=lang, kind=dataset, limit=limit)
        recipe = _changed(found, chosen, set_ or [], _scoring(profile, metric, terms or glossary))
        old, results = _run_recipe(recipe, output, settings, compare_to)
    _tell(results, old, output, json_=json_)


def _tell(results: "list[Result]", old: "Run | None", output: Path, *, json_: bool) -> None:
    """Scores on stdout, and the exit status; nothing where another process of the gang says it."""
    if results:
        _print(results, output, json_=json_)
        _judge(results, old)


def _scoring(profile: str | None, metrics: list[str] | None, terms: Path | None) -> dict[str, object]:
    """What the options say of `[score]`."""
    given = (("profile", profile), ("metrics", metrics), ("terms", str(terms) if terms else ""))
    return {key: value for key, value in given if value}


def _run_recipe(
    recipe: "Recipe", output: Path, settings: "Settings", compare_to: Path | None
) -> "tuple[Run | None, list[Result]]":
    """The run to compare with, read before anything is written, and what the runs of the recipe found."""
    settings = replace(settings, scoring=recipe.scoring, command=["simulst", *sys.argv[1:]])
    old = _old_run(compare_to, output, recipe, scores=settings.score)
    return old, _run_together(recipe, output, settings)


def _judge(results: "list[Result]", old: "Run | None") -> None:
    """Exit with SOME_FAILED where items are missing, or the run is worse than the one before."""
    worse = old is not None and _got_worse(old, results[0])
    if worse or any(result.failed.keys() - result.skipped for result in results):
        raise typer.Exit(SOME_FAILED)


@contextmanager
def _exit_statuses() -> Iterator[None]:
    """What ends a run is said by the first process of those that share it, and by another where it is its own."""
    from simulst.eval.run.gang import launched_by_torchrun

    leads = not launched_by_torchrun() or _rank() == 0
    try:
        yield
    except SimulstError:
        if not leads:
            _let_the_first_say_it()
        raise
    except KeyboardInterrupt as stop:
        if leads:
            print("simulst: stopped; the same command resumes from here.", file=sys.stderr)
        raise typer.Exit(stop.status if isinstance(stop, Stopped) else 130) from None


def _let_the_first_say_it() -> None:
    """torchrun ends all processes with the first that fails: one that is still here has a mistake of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(FIRST_SAYS_S)


def _changed(recipe: "Recipe", chosen: Chosen, pairs: list[str], scoring: dict[str, object]) -> "Recipe":
    """The recipe with what the command line says."""
    from simulst.eval.run.recipe import named

    recipe = replace(recipe, plans=named([_overridden(plan, chosen, pairs) for plan in recipe.plans]))
    return replace(recipe, scoring={**recipe.scoring, **scoring})


def _run_together(recipe: "Recipe", output: Path, settings: "Settings") -> "list[Result]":
    """`_run`, with whatever processes share it."""
    from simulst.eval.run.gang import join_gang

    signal.signal(signal.SIGTERM, _stop)
    gang = join_gang()
    try:
        return _run(recipe, output, settings, gang)
    finally:
        gang.close()


def _recipe(source: Path, data: Path | None, *, long: bool, lang: str, limit: int | None, kind: str = "") -> "Recipe":
    from simulst.eval.data import open_dataset
    from simulst.eval.run.recipe import Plan, Recipe, read_recipe

    if source.suffix == ".toml":
        if data is None and (long or lang or kind):
            raise DataError("A recipe says `long`, `lang` and `kind` itself, in [data].")
        recipe = read_recipe(source, None if data is None else open_dataset(data, long=long, lang=lang, kind=kind))
    elif data is not None:
        raise DataError("--data is for recipes; name the test set itself instead.")
    else:
        recipe = Recipe(dataset=open_dataset(source, long=long, lang=lang, kind=kind), plans=(Plan(),))
    return replace(recipe, dataset=recipe.dataset.first(limit))


def _overridden(plan: "Plan", chosen: Chosen, pairs: list[str]) -> "Plan":
    """The plan with what the command line says."""
    from simulst.chosen import read_settings
    from simulst.eval.logs.units import UNITS

    given = {key: value for key, value in vars(chosen).items() if value is not None}
    if chosen.unit not in (*UNITS, None):
        raise DataError(f"--unit must be word or char, not {chosen.unit!r}.")
    if (policy := chosen.policy or plan.policy) != plan.policy:
        plan = replace(plan, parameters={}, name=Path(policy).stem if policy.endswith(".toml") else policy)
    plan = replace(plan, **given)
    settings = read_settings(pairs, policy=plan.policy, model=plan.model)
    return replace(plan, options={**plan.options, **settings.model}, parameters={**plan.parameters, **settings.policy})


def _run(recipe: "Recipe", output: Path, settings: "Settings", gang: "Gang") -> "list[Result]":
    """Every run of the recipe, in OUT itself or in a folder of its own for each."""
    from simulst.eval.run import ModelLoader, run_evaluation
    from simulst.eval.run.progress import NoProgress, StderrProgress

    specs = [plan.spec() for plan in recipe.plans]
    progress = StderrProgress() if gang.rank == 0 else NoProgress()
    results, refused, load = [], dict[str, str](), ModelLoader()
    for spec in specs:
        folder = output if len(specs) == 1 else output / spec.name
        try:
            result = run_evaluation(spec, recipe.dataset, folder, settings, gang=gang, progress=progress, load=load)
        except PolicyError as error:  # of several runs one that cannot be is left out
            refused[spec.name] = str(error)
            if len(refused) == len(specs):
                raise
            continue
        if result is not None:
            results.append(result)
            for note in result.notes:
                print(f"note: {note}", file=sys.stderr)
    if gang.rank == 0 and len(specs) > 1:
        from simulst.eval.report.sweep import write_refused, write_sweep

        write_refused(output, refused)
        for name, reason in refused.items():
            print(f"note: {name} was left out: {reason}", file=sys.stderr)
        if len(results) > 1:
            write_sweep(output / "sweep.tsv", results)
    return results


def _print(results: "list[Result]", output: Path, *, json_: bool) -> None:
    if json_:
        documents = [{"output": str(r.folder), "failed": len(r.failed), **r.scores} for r in results]
        print(json.dumps(documents[0] if len(documents) == 1 else documents, ensure_ascii=False))
        return
    units = {name: unit for result in results for name, unit in result.summary.items()}
    names = list(units)
    if not names:
        print("\n".join(str(result.folder / "instances.log") for result in results))
        return
    width = max(len(result.folder.name) for result in results)
    print(f"{'':<{width}}  " + "  ".join(f"{name:>{max(9, len(name))}}" for name in names))
    for result in results:
        cells = [_cell(result.scores.get(name), max(9, len(name))) for name in names]
        print(f"{result.folder.name:<{width}}  " + "  ".join(cells))
    latencies = [name for name in names if units[name] == "ms"]
    if latencies:
        table = output / ("scores.tsv" if len(results) == 1 else "*/scores.tsv")
        print(f"{', '.join(latencies)} in ms; every score with its signature: {table}")
    if len(results) > 1:
        print(f"simulst curve {output}/*/ --output {output}/curve.html")


def _old_run(folder: Path | None, output: Path, recipe: "Recipe", *, scores: bool) -> "Run | None":
    """The run to compare with, read before the work begins."""
    if folder is None:
        return None
    if len(recipe.plans) != 1 or not scores:
        raise DataError("--compare-to is for one run that is scored; name the policy, and leave out --no-score.")
    if folder.resolve() == output.resolve():
        raise DataError("--compare-to names the folder of the run itself; give a run before.")
    from simulst.eval.score.runs import load_run

    return load_run(folder)


def _got_worse(old: "Run", result: "Result") -> bool:
    """Whether quality fell or latency rose by more than chance explains; the table goes to stderr."""
    from simulst.cli.compare import change_lines
    from simulst.eval.score.differences import differences
    from simulst.eval.score.runs import load_run

    found = differences(old, load_run(result.folder))
    print("\n".join(change_lines(found.leading())), file=sys.stderr)
    return bool(found.worse())


def _cell(value: float | None, width: int) -> str:
    if value is None:
        return " " * (width - 1) + "-"
    digits = 2 if abs(value) < 100 else 0
    return f"{value:>{width}.{digits}f}"


def _rank() -> int:
    import os

    return int(os.environ.get("RANK", "0"))


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(128 + number)
