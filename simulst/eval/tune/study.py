"""Search for the best quality under limits: trials grow from few items to all and are dropped where they fall behind.

Settings are proposed by a tree-structured Parzen estimator that knows constraints (Optuna); a trial goes from one rung
to the next only if it is among the best third there (asynchronous successive halving, Li et al. 2020, 1810.05934).
Every trial is an ordinary run folder, so a search that was stopped goes on where it was.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from simulst.core.session import Session
from simulst.errors import DataError, PolicyError, SimulstError
from simulst.eval.data import Dataset
from simulst.eval.run.recipe import Plan
from simulst.eval.run.run import ModelLoader, Settings, run_evaluation
from simulst.eval.tune.limits import Limit
from simulst.eval.tune.space import Search, Value

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

QUALITY = "BLEU"
STUDY_FILE = "study.log"
FEWEST = 10
"""Items of the first rung at least, and of each half of a test set that is split."""
FACTOR = 3
"""A rung has this many times the items of the one before; of its trials one in as many goes on."""
HOPELESS = 0.5
"""A trial whose first rung is above a limit by this share is dropped."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What to search for, and how long."""

    limits: tuple[Limit, ...]
    trials: int = 60
    minutes: float | None = None
    """No trial begins after this time; None: no end but `trials`."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One setting that was run over all items of the search."""

    plan: Plan
    folder: Path
    scores: dict[str, float]
    excess: float
    """By what share of its limit the worst score is above it; at most 0 where all limits are kept."""

    @property
    def quality(self) -> float:
        return self.scores[QUALITY]


@dataclass(kw_only=True)
class Tuner:
    """One search in the folder `output`; `say` gets a line of progress for each trial."""

    base: Plan
    """Model, device and unit; policy and parameters are replaced."""
    searches: Sequence[Search]
    dataset: Dataset
    output: Path
    goal: Goal
    say: Callable[[str], None] = print
    load: ModelLoader = field(default_factory=ModelLoader)

    def run(self) -> list[Tried]:
        """Settings that came to the last rung: those within the limits first, by quality, then the closest."""
        self.searches = list(self._runnable())
        study = self._study()
        end = None if self.goal.minutes is None else time.monotonic() + 60 * self.goal.minutes
        while _finished(study) < self.goal.trials and (end is None or time.monotonic() < end):
            study.optimize(self._objective, n_trials=1)
        found = {tried.folder: tried for trial in study.get_trials() if (tried := self._tried(trial))}
        return sorted(found.values(), key=lambda one: (one.excess > 0, max(0.0, one.excess), -one.quality))

    def rungs(self) -> list[int]:
        """How many items each rung has, the last one all of them."""
        sizes = [len(self.dataset.items)]
        while sizes[0] >= FACTOR * FEWEST:
            sizes.insert(0, sizes[0] // FACTOR)
        return sizes

    def _runnable(self) -> Iterator[Search]:
        """Searches whose policy the model can run; DataError where it can run none."""
        refused = []
        for search in self.searches:
            plan = replace(self.base, policy=search.policy, options={**self.base.options, **search.options})
            try:
                spec = plan.spec()
                Session(self.load(spec), spec.policy)
            except PolicyError as error:
                refused.append(str(error))
                self.say(f"{search.policy} is left out: {error}")
                continue
            yield search
        if len(refused) == len(self.searches):
            raise DataError(f"The model can run none of the policies; the first says: {refused[0]}")

    def _study(self) -> "Study":
        optuna = library()
        self.output.mkdir(parents=True, exist_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(str(self.output / STUDY_FILE))
        study: Study = optuna.create_study(
            study_name="simulst",
            direction="maximize",
            storage=optuna.storages.JournalStorage(backend),
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR),
            load_if_exists=True,
        )
        self._check_same(study)
        # a search that goes on draws other settings than those it began with
        seed = self.goal.seed + 1_000 * len(study.get_trials())
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=12)
        for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # of a search that was stopped
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)
        return study

    def _check_same(self, study: "Study") -> None:
        """DataError where the folder holds the search of another space or limit; a new one notes its own."""
        asked = {
            "searches": [[one.policy, str(one.ranges), str(one.options)] for one in self.searches],
            "limits": [[limit.metric, limit.at_most] for limit in self.goal.limits],
        }
        known = study.user_attrs.get("asked")
        if known is None and study.get_trials():  # of a version that did not note it
            known = {}
        if known not in (None, asked):
            raise DataError(
                f"{self.output} holds a search of other policies, ranges or limits; name another folder with --output, "
                "or ask for what it was begun with to go on."
            )
        study.set_user_attr("asked", asked)

    def _objective(self, trial: "Trial") -> float:
        by_name = {search.policy: search for search in self.searches}
        search = by_name[trial.suggest_categorical("policy", sorted(by_name))]
        plan = self._plan(search, search.suggest(trial))
        where = f"trial {trial.number + 1} of {self.goal.trials}, {plan.name}"
        for rung, items in enumerate(self.rungs(), 1):
            scores = self._scores(plan, items)
            excess = self._excess(scores)
            trial.report(scores[QUALITY] - 100 * max(0.0, excess), rung)
            if (excess > HOPELESS or trial.should_prune()) and items < len(self.dataset.items):
                trial.set_constraint("limits", excess)  # once: the sampler takes no second value
                self.say(f"{where}: {self._said(scores)}, dropped after {items} items")
                raise library().TrialPruned
        trial.set_constraint("limits", excess)
        trial.set_user_attr("complete", True)
        self.say(f"{where}: {self._said(scores)}")
        return scores[QUALITY]

    def _plan(self, search: Search, chosen: dict[str, Value]) -> Plan:
        values = {name: round(value, 4) if isinstance(value, float) else value for name, value in chosen.items()}
        named = " ".join([search.policy, *(f"{name}={value}" for name, value in values.items())])
        chunk = values.pop("chunk_ms", None)
        return replace(
            self.base,
            name=named,
            policy=search.policy,
            parameters={**values},
            chunk_ms=self.base.chunk_ms if chunk is None else int(chunk),
            options={**self.base.options, **search.options},
        )

    def _scores(self, plan: Plan, items: int) -> dict[str, float]:
        result = run_evaluation(plan.spec(), self.dataset.first(items), self._folder(plan), Settings(), load=self.load)
        if result is None or QUALITY not in result.scores:
            raise DataError("The test set has no references; a search needs them.")
        return result.scores

    def _tried(self, trial: "FrozenTrial") -> Tried | None:
        """What a trial found, None where it did not see all items."""
        if not trial.user_attrs.get("complete"):
            return None
        policy = trial.params["policy"]
        search = next((one for one in self.searches if one.policy == policy), None)
        if search is None:
            return None
        chosen = {name.removeprefix(f"{policy}."): value for name, value in trial.params.items() if name != "policy"}
        plan = self._plan(search, chosen)
        scores = self._scores(plan, len(self.dataset.items))  # a later trial of it may have scored fewer
        return Tried(plan=plan, folder=self._folder(plan), scores=scores, excess=self._excess(scores))

    def _excess(self, scores: dict[str, float]) -> float:
        return max(limit.excess(scores) for limit in self.goal.limits)

    def _folder(self, plan: Plan) -> Path:
        return self.output / "trials" / plan.name.replace(" ", "-").replace("/", "-")

    def _said(self, scores: dict[str, float]) -> str:
        limits = [f"{limit.metric} {limit.value(scores):.2f}" for limit in self.goal.limits]
        return ", ".join([f"{QUALITY} {scores[QUALITY]:.1f}", *limits])


def split(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """(half to search on, half to report on), items drawn by the seed; DataError for less than two items."""
    numbers = list(range(len(dataset.items)))
    if len(numbers) < 2:
        raise DataError(
            f"{dataset.path} has {len(numbers)} item; a search needs some to search on and others to report."
        )
    random.Random(seed).shuffle(numbers)
    half = (len(numbers) + 1) // 2
    return _part(dataset, numbers[:half]), _part(dataset, numbers[half:])


def _part(dataset: Dataset, numbers: list[int]) -> Dataset:
    return replace(dataset, items=tuple(dataset.items[number] for number in numbers))


def library() -> ModuleType:
    """Optuna, quiet; SimulstError with a sentence where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise SimulstError("`simulst tune` needs Optuna: pip install 'simulst[tune]'.") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _finished(study: "Study") -> int:
    return sum(trial.state.is_finished() and trial.state.name != "FAIL" for trial in study.get_trials())
