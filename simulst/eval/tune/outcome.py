"""What a search gives: its best settings on items that it has not seen, a preset file, and a page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulst.eval.data import Dataset
from simulst.eval.report.curve import build_curve, write_curve_page
from simulst.eval.run.run import Settings, run_evaluation
from simulst.eval.score.differences import differences
from simulst.eval.score.runs import Run, load_run
from simulst.eval.score.significance import Interval, intervals, resampling_weights
from simulst.eval.tune.limits import Limit
from simulst.eval.tune.study import QUALITY, Tried, Tuner
from simulst.outputs import write_text

FINALISTS = 3
PRESET_FILE, PAGE_FILE = "tuned.toml", "curve.html"
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A setting on the items to report on."""

    tried: Tried
    run: Run
    bounds: dict[str, Interval]
    alike: bool = False
    """Whether quality and latency cannot be told from those of the first."""


def finals(tuner: Tuner, found: Sequence[Tried], held: Dataset, count: int = FINALISTS) -> list[Finalist]:
    """The first settings of a search over items that it has not seen, in the order of the search."""
    best: list[Finalist] = []
    for tried in found[:count]:
        folder = tuner.output / "held-out" / tried.folder.name
        spec = replace(tried.plan, name=tried.folder.name).spec()
        run_evaluation(spec, held, folder, Settings(), load=tuner.load)
        run = load_run(folder)
        bounds = intervals(run.sample(), resampling_weights(len(run.rows), RESAMPLES))
        alike = bool(best) and all(c.verdict == "not told apart" for c in differences(best[0].run, run).leading())
        best.append(Finalist(tried=tried, run=run, bounds=bounds, alike=alike))
    return best


def write_outcome(tuner: Tuner, found: Sequence[Tried], best: Sequence[Finalist], held: Dataset) -> None:
    """The preset of the best setting, and a page with every setting that came to the last rung."""
    write_text(tuner.output / PRESET_FILE, preset(best, tuner, held))
    runs = [load_run(tried.folder) for tried in found]
    write_curve_page(build_curve([run for run in runs if run.has_latency]), tuner.output / PAGE_FILE)


def preset(best: Sequence[Finalist], tuner: Tuner, held: Dataset) -> str:
    """The best setting as a preset, with what was measured and on what as comments."""
    first = best[0]
    spec = first.tried.plan.spec()
    searched, reported = len(tuner.dataset.items), len(held.items)
    limits, other = ", ".join(map(str, tuner.goal.limits)), f"{reported} other items of {held.name}"
    lines = [
        f"# Searched by `simulst tune` for {limits} with {tuner.base.model}",
        f"# on {searched} items of {tuner.dataset.name}, seed {tuner.goal.seed}. On {other}, with 95 % intervals:",
        *(f"#   {one.tried.plan.name}: {said(one, tuner.goal.limits)}" for one in best),
    ]
    if first.tried.plan.options:
        lines.append(f"# Model options: {_inline(first.tried.plan.options)}")
    lines += [f"name = {_toml('tuned-' + spec.policy.name)}", f"policy = {_toml(first.tried.plan.policy)}"]
    lines += [f"chunk_ms = {spec.policy.chunk_ms}"]
    parameters = {k: v for k, v in first.tried.plan.parameters.items() if not k.startswith("history.")}
    history = {
        k.removeprefix("history."): v for k, v in first.tried.plan.parameters.items() if k.startswith("history.")
    }
    for name, table in (("parameters", parameters), ("history", history)):
        if table:
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def said(one: Finalist, limits: Sequence[Limit]) -> str:
    """Quality and the limited scores with their intervals, times in seconds."""
    scores, parts = one.run.scores, [_with_interval(QUALITY, one.run.scores[QUALITY], one.bounds.get(QUALITY))]
    for limit in limits:
        name, scale = limit.name(scores), limit.scale(scores)
        bound = one.bounds.get(name)
        in_unit = bound and Interval(bound.low / scale, bound.high / scale)
        parts.append(_with_interval(name, limit.value(scores), in_unit, digits=2))
    return ", ".join(parts) + (" (not told apart from the first)" if one.alike else "")


def _with_interval(name: str, value: float, bound: Interval | None, *, digits: int = 1) -> str:
    shown = f"{name} {value:.{digits}f}"
    known = bound is not None and np.isfinite([bound.low, bound.high]).all()
    return f"{shown} [{bound.low:.{digits}f}, {bound.high:.{digits}f}]" if bound is not None and known else shown


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _inline(options: dict[str, object]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())
