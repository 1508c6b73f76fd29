"""Metrics by name: simulst's, those of a file, and what a stored score says about the metric that it is of."""

import functools
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from simulst.bundled import bundled_path
from simulst.errors import DataError
from simulst.eval.metrics import METRICS
from simulst.eval.metrics.metric import UNITS, Corpus, Counts, Kind, Metric, Shown, Texts, View
from simulst.eval.segment.align import CLOCKS
from simulst.eval.segment.profiles import PROFILES
from simulst.plugins import brief, module_from_file


@functools.cache
def known_metrics() -> tuple[Metric, ...]:
    """All of METRICS, in order; DataError for a line that names no Metric."""
    found = []
    for name, place in METRICS.items():
        module, _, attribute = place.partition(":")
        metric = vars(importlib.import_module(module)).get(attribute)
        if not isinstance(metric, Metric) or metric.name != name:
            raise DataError(f"METRICS has {place} for {name}, which is not the Metric of that name.")
        found.append(metric)
    return tuple(found)


def chosen_metrics(own: Sequence[str]) -> tuple[Metric, ...]:
    """The known ones and those of `file.py:NAME`; DataError where one of these cannot be used or two share a name."""
    metrics = list(known_metrics())
    taken = set(_by_printed_name())
    for spec in own:
        metric = load_metric(spec)
        if metric.name in taken:
            raise DataError(f"{spec}: a metric {metric.name} already exists; give yours another name.")
        taken |= {metric.printed(prefix) for prefix in _prefixes()}
        metrics.append(metric)
    return tuple(metrics)


def load_metric(spec: str) -> Metric:
    """The Metric that `file.py:NAME` names; whatever fails in it later is a DataError too."""
    path, _, name = spec.rpartition(":")
    if not path.endswith(".py"):
        raise DataError(f"{spec} is not a metric: give --metric file.py:NAME; simulst's own are always computed.")
    found = vars(module_from_file(bundled_path(path), what="metric", error=DataError)).get(name)
    if not isinstance(found, Metric):
        raise DataError(f"{spec} is not a metric: {name} must be a simulst.eval.metrics.metric.Metric.")
    if bad := [text for text in (found.shown.card, found.shown.column) if set(text) & set("|\t\r\n")]:
        raise DataError(f"{spec}: the heading {bad[0]!r} must have neither | nor tabs nor line ends.")
    return _guarded(replace(found, origin=spec))


def _guarded(metric: Metric) -> Metric:
    """The metric, with its functions checked at every call."""
    segment, corpus, counts = metric.segment, metric.corpus, metric.counts
    return replace(
        metric,
        segment=_guarded_segment(metric, segment) if segment else None,
        corpus=_guarded_corpus(metric, corpus) if corpus else None,
        counts=_guarded_counts(metric, counts) if counts else None,
    )


def _guarded_segment(metric: Metric, measure: Callable[[View], float | None]) -> Callable[[View], float | None]:
    def checked(view: View) -> float | None:
        where = f" on segment {view.segment.index + 1}"
        try:
            value = measure(view)
        except Exception as problem:
            raise _failed(metric, problem, where) from problem
        return _number(value, metric, where)

    return checked


def _guarded_corpus(metric: Metric, measure: Callable[[Corpus], float | None]) -> Callable[[Corpus], float | None]:
    def checked(run: Corpus) -> float | None:
        try:
            value = measure(run)
        except Exception as problem:
            raise _failed(metric, problem) from problem
        return _number(value, metric)

    return checked


def _guarded_counts(metric: Metric, measure: Callable[[Texts], Counts | None]) -> Callable[[Texts], Counts | None]:
    def checked(texts: Texts) -> Counts | None:
        try:
            found = measure(texts)
            value = None if found is None else found.total()
        except Exception as problem:
            raise _failed(metric, problem) from problem
        _number(value, metric)
        return found

    return checked


def _failed(metric: Metric, problem: Exception, where: str = "") -> DataError:
    return DataError(f"The metric {metric.origin} fails{where}: {brief(problem)}")


def _number(value: object, metric: Metric, where: str = "") -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"The metric {metric.origin} gives {value!r}{where}; it must give a finite number or None.")
    return float(value)


@dataclass(frozen=True, kw_only=True)
class Display:
    """How scores of a metric are shown."""

    unit: str
    kind: Kind
    shown: Shown


def display_of(name: str, signature: str = "") -> Display:
    """What a score is called and measured in, by its printed name and, for a metric of one's own, its signature.

    Raises DataError where neither tells the unit.
    """
    stem = without_clock(name)
    found = _by_printed_name().get(stem, [])
    if found:  # SimulEval's RTF is a mean over segments under a clock, that of recordings is not
        metric = next((m for m in found if (m.segment is not None) == ("clock:" in signature)), found[0])
        return Display(unit=metric.unit, kind=metric.kind, shown=metric.shown)
    fields = dict(part.partition(":")[::2] for part in signature.split("|"))
    kind: Kind | None = next((kind for kind in get_args(Kind) if kind == fields.get("kind")), None)
    if kind is None or fields.get("in") not in UNITS:
        raise DataError(f"The unit of {name} is not known: it is not a metric of simulst; score the run again.")
    shown = Shown(card=fields.get("card", ""), column=fields.get("column", ""), recordings="recordings" in fields)
    return Display(unit=fields["in"], kind=kind, shown=shown)


def own_fields(metric: Metric) -> dict[str, str]:
    """What the signature of a metric of one's own says, so that a stored score can be shown without its file."""
    if not metric.origin:
        return {}
    shown = {"card": metric.shown.card, "column": metric.shown.column}
    shown["recordings"] = "yes" if metric.shown.recordings else ""
    said = {key: text for key, text in shown.items() if text}
    return {"metric": metric.origin, "in": metric.unit, "kind": metric.kind, **said}


def without_clock(name: str) -> str:
    """The name of a score under the ideal clock."""
    for clock in sorted(CLOCKS, key=len, reverse=True):
        if clock and name.endswith(clock):
            return name.removesuffix(clock)
    return name


@functools.cache
def _by_printed_name() -> dict[str, list[Metric]]:
    table: dict[str, list[Metric]] = {}
    for metric in known_metrics():
        for name in dict.fromkeys(metric.printed(prefix) for prefix in _prefixes()):
            table.setdefault(name, []).append(metric)
    return table


def _prefixes() -> list[str]:
    return list(dict.fromkeys(["", *(profile.prefix for profile in PROFILES.values())]))
