"""A finished evaluation as its folder holds it: scores, segment table and run.json."""

import os
from dataclasses import dataclass
from pathlib import Path

from simulst.errors import DataError
from simulst.eval.logs.instances import parse_json
from simulst.eval.metrics.metric import Texts, counted
from simulst.eval.metrics.registry import Display, display_of, known_metrics
from simulst.eval.score.significance import Sample
from simulst.eval.score.tables import SegmentRow, read_scores, read_segments

LATENCY_PREFERENCE = ("StreamLAAL", "LAAL", "LongYAAL", "LongLAAL", "YAAL")


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One evaluation."""

    folder: Path
    scores: dict[str, float]
    signatures: dict[str, str]
    rows: list[SegmentRow]
    info: dict[str, object]
    """run.json: versions, seed, command and what the evaluator recorded; empty for a scored log."""

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def policy(self) -> str:
        return _name_of(self.info.get("policy")) or self.name

    @property
    def model(self) -> str:
        return _name_of(self.info.get("model"))

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters of the policy and its history, the chunk and options of the model, as run.json tells them."""
        policy = self.info.get("policy")
        nested = policy.get("parameters") if isinstance(policy, dict) else None
        found = nested or self.info.get("parameters") or self.info.get("policy_parameters") or {}
        parameters = dict(found) if isinstance(found, dict) else {}
        history = policy.get("history") if isinstance(policy, dict) else None
        if isinstance(history, dict):
            parameters |= {f"history.{key}": value for key, value in history.items()}
        if (chunk := self.info.get("chunk_ms")) is not None:
            parameters.setdefault("chunk_ms", chunk)
        model = self.info.get("model")
        if isinstance(model, dict) and isinstance(options := model.get("options"), dict):
            parameters |= {f"model.{key}": value for key, value in options.items()}
        return parameters

    @property
    def has_latency(self) -> bool:
        """Whether a latency is known; a run without any output has none."""
        return any(name in self.scores for name in LATENCY_PREFERENCE)

    def sample(self) -> Sample:
        """What can be resampled; quality is counted anew from the texts."""
        tokenizer = _field(self.signatures.get("BLEU", ""), "tok") or "13a"
        tokenizer = "ja-mecab" if tokenizer.startswith("ja-mecab") else tokenizer
        texts = Texts(
            hypotheses=[row.prediction for row in self.rows],
            references=[row.reference for row in self.rows],
            tokenizer=tokenizer,
        )
        counts = counted(known_metrics(), texts)
        scores = [{k: v for k, v in row.scores.items() if k not in counts and self._averaged(k)} for row in self.rows]
        return Sample.of(scores, counts)

    def _averaged(self, name: str) -> bool:
        """Whether a column of segments.tsv makes the score by its mean; the signature of a mean counts segments."""
        signature = self.signatures.get(name, "")
        return not signature or bool(_field(signature, "n"))

    def display(self, name: str) -> Display:
        """How one of the scores is shown; DataError for one of an unknown unit."""
        return display_of(name, self.signatures.get(name, ""))


def run_files(folder: str | os.PathLike[str]) -> list[Path]:
    """What a folder holds that took time to make or is read again."""
    names = ("instances.log", "errors.jsonl", "run.json", "scores.json", "scores.tsv", "segments.tsv")
    return [Path(folder) / name for name in names]


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Read a folder written by `simulst evaluate` or `simulst score --output`; DataError when it is none."""
    path = Path(folder)
    missing = [name for name in ("scores.tsv", "segments.tsv") if not (path / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} has no {missing[0]}; give a folder made by `simulst evaluate` or `simulst score --output`."
        )
    scores, signatures = read_scores(path)
    rows = read_segments(path / "segments.tsv")
    if not rows:
        raise DataError(f"{path / 'segments.tsv'} has no segments; score the run again.")
    return Run(folder=path, scores=scores, signatures=signatures, rows=rows, info=_info(path / "run.json"))


def latency_metric(runs: list[Run], wanted: str = "") -> str:
    """The latency metric of a plot: `wanted`, or the best known one that all runs have."""
    names = [wanted] if wanted else LATENCY_PREFERENCE
    for name in names:
        if all(name in run.scores for run in runs):
            return name
    if wanted:
        lacking = next(run for run in runs if wanted not in run.scores)
        raise DataError(f"{lacking.folder} has no {wanted}; it has {', '.join(lacking.scores)}.")
    if silent := [run for run in runs if not run.has_latency]:
        why = "its log has no times" if any(row.units for row in silent[0].rows) else "none of its segments has output"
        raise DataError(f"{silent[0].folder} has no latency, because {why}; leave it out.")
    raise DataError("The runs have no latency metric in common; score them with the same profile.")


def same_segments(runs: list[Run]) -> bool:
    """Whether all runs translate the same segments, which pairing needs."""
    return all([r.reference for r in run.rows] == [r.reference for r in runs[0].rows] for run in runs[1:])


def _info(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        info = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{path} cannot be read; evaluate again or remove it.") from None
    return info if isinstance(info, dict) else {}


def _name_of(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("name")
    return value if isinstance(value, str) else ""


def _field(signature: str, key: str) -> str:
    return next((part[len(key) + 1 :] for part in signature.split("|") if part.startswith(key + ":")), "")
