"""A run from its specification to its scores."""

import logging
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from simulst.core.memory import give_back
from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.errors import DataError, DeviceLostError, ModelError
from simulst.eval.data import Dataset, Item, Problem
from simulst.eval.logs.instances import Instance
from simulst.eval.run.folder import TRACES, RunFolder
from simulst.eval.run.gang import Gang, local_device
from simulst.eval.run.machine import machine, now, versions
from simulst.eval.run.pool import Outcome, Work, run_here, run_workers, set_threads
from simulst.eval.run.progress import NoProgress, Progress
from simulst.eval.run.spec import RunSpec
from simulst.eval.run.stream import translate_item
from simulst.eval.run.streams import batched

if TYPE_CHECKING:
    from simulst.eval.score.scoring import ScoreReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run is carried out; nothing here changes its predictions."""

    workers: int = 1
    threads: int = 1
    """Of the model, in each worker."""
    batch: int = 1
    """Items that each worker translates together, where the model can."""
    fresh: bool = False
    skip_bad: bool = False
    score: bool = True
    trace: bool = False
    """Whether the decisions of every item are written to `traces/INDEX.jsonl`."""
    scoring: dict[str, object] = field(default_factory=dict)
    """Options of the scorer; the language and the unit are known without them."""
    command: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Result:
    folder: Path
    instances: list[Instance]
    failed: dict[int, dict[str, object]]
    """Lines of errors.jsonl by index."""
    skipped: frozenset[int] = frozenset()
    """Those of `failed` that were left out on purpose."""
    scores: dict[str, float]
    notes: list[str]
    summary: dict[str, str] = field(default_factory=dict)
    """The scores to be shown first, with their units."""


def run_evaluation(
    spec: RunSpec,
    dataset: Dataset,
    output: Path,
    settings: Settings | None = None,
    *,
    gang: Gang | None = None,
    progress: Progress | None = None,
    load: Callable[[RunSpec], Translator] | None = None,
) -> Result | None:
    """Translate what is not done yet, then score; None on every rank but the first.

    An item that fails goes to errors.jsonl and the rest goes on. `load` replaces the loading of the model. Raises
    DataError before any work where the test set cannot be used or the folder belongs to another run.
    """
    settings, gang = settings or Settings(), gang or Gang()
    dataset, skipped = dataset.usable(skip_bad=settings.skip_bad)
    _check_scoring(dataset, settings)
    spec = replace(spec, device=local_device(spec.device))
    loader = load or ModelLoader()
    leader = RunFolder(output)
    began = time.monotonic()
    try:
        if gang.rank == 0:
            leader.claim(spec.describe(dataset), _session(spec, settings), fresh=settings.fresh)
        gang.barrier()
        mine = RunFolder(output, rank=gang.rank) if gang.size > 1 else leader
        _translate_rest(spec, dataset, leader, mine, settings, gang, progress or NoProgress(), loader)
        gang.barrier()
        if gang.rank:
            return None
        for problem in skipped:
            leader.fail({"index": problem.index, "where": problem.where, "error": problem.what, "time": now()})
        leader.merge()
        result = _finish(dataset, leader, skipped, settings, spec)
        _note_end(leader, result, time.monotonic() - began)
        return result
    except BaseException:
        leader.abandon()
        raise
    finally:
        leader.release()
        give_back()


class ModelLoader:
    """Loads the model of a run, and keeps it for the runs after it that want the same."""

    def __init__(self) -> None:
        self._kept: tuple[object, Translator] | None = None

    def __call__(self, spec: RunSpec) -> Translator:
        from simulst.models import load_model

        wanted = (spec.model, spec.device, spec.dtype, spec.options)
        if self._kept is None or self._kept[0] != wanted:
            self._kept = None
            precision = {} if spec.dtype is None else {"dtype": spec.dtype}
            self._kept = (wanted, load_model(spec.model, device=spec.device, **precision, **spec.options))
        return self._kept[1]


def _load_checked(load: Callable[[RunSpec], Translator], spec: RunSpec) -> Translator:
    """The model, loaded by a single thread: a pool of threads would not survive the fork of workers."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, which may be now
    set_threads(1)
    model = load(spec)
    set_threads(1)
    Session(model, spec.policy, glossary=spec.glossary)  # raises where they do not fit
    return model


def _load_work(load: Callable[[RunSpec], Translator], spec: RunSpec, batch: int, traces: Path | None) -> Work:
    model = _load_checked(load, spec)
    if batch > 1:
        try:
            return batched(model, spec, batch=batch, traces=traces)
        except ModelError as error:
            logger.warning("%s One item at a time, without --batch.", error)
    return partial(run_here, translate=partial(translate_item, model, spec, traces=traces))


def _translate_rest(
    spec: RunSpec,
    dataset: Dataset,
    leader: RunFolder,
    mine: RunFolder,
    settings: Settings,
    gang: Gang,
    progress: Progress,
    load: Callable[[RunSpec], Translator],
) -> None:
    done = leader.done()
    rest = [item for item in dataset.items if item.index not in done]
    pending = gang.share(rest)
    finished = sum(item.index in done for item in dataset.items)
    total = len(dataset.items) if gang.size == 1 else finished + len(pending)
    progress.begin(spec.name or dataset.name, items=total, done=finished, audio_s=sum(i.audio_s for i in pending))
    if not rest:
        return
    with closing(_outcomes(pending, load, spec, settings, leader.path)) as outcomes:
        for outcome in outcomes:
            if outcome.lost:
                raise DeviceLostError(
                    f"The model's device failed ({' '.join(outcome.error.split())}); run the same command again, it "
                    "goes on where it stopped, or with --workers 2, which are replaced when that happens."
                )
            if outcome.instance is not None:
                mine.add(outcome.instance)
            else:
                mine.fail(outcome.record() | {"time": now()})
            progress.step(outcome)
    progress.end()


def _outcomes(
    items: Sequence[Item], load: Callable[[RunSpec], Translator], spec: RunSpec, settings: Settings, folder: Path
) -> Generator[Outcome, None, None]:
    """A rank without items loads the model too, so that all ranks find out together what cannot be."""
    loader = partial(_load_work, load, spec, settings.batch, folder / TRACES if settings.trace else None)
    if settings.workers > 1:
        share = spec.device == "cpu" and sys.platform == "linux"
        yield from run_workers(
            items, loader, workers=settings.workers, share=share, threads=settings.threads, batch=settings.batch
        )
        return
    work = loader()
    set_threads(settings.threads)
    yield from work(sorted(items, key=lambda item: -item.audio_s) if settings.batch > 1 else items)


def _finish(
    dataset: Dataset, folder: RunFolder, skipped: Sequence[Problem], settings: Settings, spec: RunSpec
) -> Result:
    wanted, done = {item.index for item in dataset.items}, folder.done()
    instances = [instance for index, instance in sorted(done.items()) if index in wanted]
    unusable = {problem.index for problem in skipped if problem.index is not None}
    failed = {index: record for index, record in folder.failures().items() if index in wanted | unusable}
    if not instances:
        first = next(iter(failed.values()), {"error": "there was nothing to do"})
        raise DataError(f"All {len(failed)} items failed, the first with: {str(first['error']).rstrip('.')}.")
    report, notes = _score(dataset, instances, folder, settings, spec) if settings.score else (None, [])
    notes = [*_notes(dataset, instances, len(done), settings), *notes]
    if failed:
        notes = [f"{len(failed)} of {len(wanted | unusable)} items failed: {folder.path / 'errors.jsonl'}.", *notes]
    skipped_items = frozenset(unusable & failed.keys())
    return Result(
        folder=folder.path,
        instances=instances,
        failed=failed,
        skipped=skipped_items,
        scores=report.scores if report else {},
        notes=notes,
        summary=report.summary() if report else {},
    )


def _notes(dataset: Dataset, instances: Sequence[Instance], done: int, settings: Settings) -> list[str]:
    """What the scores must not be taken for."""
    notes = []
    if settings.score and len(instances) < done:
        notes.append(f"The scores are of {len(instances)} of the {done} items in the folder; --limit chose them.")
    wanted = {item.index for item in dataset.items}
    bad = [p for p in dataset.problems if p.fatal and p.segment is not None and p.index in wanted]
    if bad:
        one = "1 segment was" if len(bad) == 1 else f"{len(bad)} segments were"
        notes.append(f"{one} left out of the scores, the first for this reason: {bad[0]}.")
    if settings.batch > 1:
        notes.append("Computing times include waiting for other items of the batch; the ideal clock is not affected.")
    return notes


def _score(
    dataset: Dataset, instances: list[Instance], folder: RunFolder, settings: Settings, spec: RunSpec
) -> "tuple[ScoreReport | None, list[str]]":
    from simulst.eval.score.inputs import report_with, scoring_options

    by_index = {item.index: item for item in dataset.items}
    options = scoring_options({"lang": dataset.target_lang, "unit": spec.unit, **settings.scoring})
    if dataset.segments is not None:
        names = {by_index[instance.index].name for instance in instances}
        segments = [segment for segment in dataset.segments if segment.wav in names]
        texts = [dataset.texts[segment.index] for segment in segments] if dataset.texts else None
        report = report_with(options, instances, segmentation=segments, sources=texts, name=dataset.name)
    elif all(by_index[instance.index].reference is None for instance in instances):
        return None, ["The test set has no references: nothing to score."]
    else:
        references = [by_index[instance.index].reference or "" for instance in instances]
        found = [by_index[instance.index].text for instance in instances]
        sources = [text for text in found if text is not None]
        sources_or_none = sources if len(sources) == len(found) else None
        report = report_with(options, instances, references, sources=sources_or_none)
    report.write(folder.path)
    return report, report.notes


def _check_scoring(dataset: Dataset, settings: Settings) -> None:
    """What the scorer would refuse after hours."""
    from simulst.eval.score.inputs import scoring_options
    from simulst.eval.score.scoring import needing_sources
    from simulst.eval.segment.profiles import get_profile

    options = scoring_options(settings.scoring)
    get_profile(options.profile, long_form=dataset.segments is not None)
    for name in needing_sources(options):
        if not (dataset.texts or all(item.text for item in dataset.items)):
            raise DataError(f"{name} needs the source sentences, which the test set does not have.")


def _session(spec: RunSpec, settings: Settings) -> dict[str, object]:
    return {
        "started": now(),
        "command": list(settings.command),
        "device": spec.device,
        "workers": settings.workers,
        "threads": settings.threads,
        "batch": settings.batch,
        "versions": versions(),
        "machine": machine(),
    }


def _note_end(folder: RunFolder, result: Result, wall_s: float) -> None:
    compute_s = sum(compute for one in result.instances for _, compute in one.chunks) / 1000
    audio_s = sum(one.source_length_ms or 0.0 for one in result.instances) / 1000
    end = {
        "finished": now(),
        "wall_s": round(wall_s, 3),
        "instances": len(result.instances),
        "failed": len(result.failed),
        "audio_s": round(audio_s, 3),
        "compute_s": round(compute_s, 3),
        "machine": machine(),
    }
    folder.note_end(end)
