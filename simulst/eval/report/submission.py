"""A folder to submit to IWSLT's simultaneous task: logs by regime of latency, scores, and how each run was made."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from simulst.core.settings import describe
from simulst.errors import DataError
from simulst.eval.logs.formats import log_files, write_log
from simulst.eval.logs.instances import Instance, read_instances
from simulst.eval.logs.units import Unit, read_unit
from simulst.eval.score.runs import Run, load_run, same_segments
from simulst.outputs import whole_folder, write_texts
from simulst.policies import load_policy

LATENCY = "LongYAAL"
REGIMES = {"low": (0.0, 2000.0), "high": (2000.0, 4000.0)}
"""By computation-unaware LongYAAL in ms; the upper bound belongs to a regime."""
QUALITIES = ("COMET", "BLEU", "chrF2++")
_PORT = 8766


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A run as it is submitted."""

    run: Run
    regime: str
    instances: Sequence[Instance]
    unit: Unit
    primary: bool
    """The first of its regime."""

    @property
    def folder(self) -> Path:
        return Path(self.regime) / self.run.name


def pack(folders: Sequence[Path], output: Path, *, system: str) -> list[Entry]:
    """Write the submission of `system` from folders of `simulst evaluate`; the first run of a regime is primary.

    The folder appears at once and whole. DataError for runs that cannot be submitted (together), OutputError where
    `output` exists.
    """
    entries = _entries(folders)
    with whole_folder(output) as scratch:
        for entry in entries:
            _write_run(scratch / entry.folder, entry)
        texts = {"README.md": readme(entries, system), "Containerfile": containerfile(entries)}
        write_texts({scratch / name: text for name, text in texts.items()})
    return entries


def _entries(folders: Sequence[Path]) -> list[Entry]:
    runs = [load_run(folder) for folder in folders]
    if len({run.name for run in runs}) < len(runs):
        raise DataError("Two of the runs have folders of the same name; rename one.")
    if not same_segments(runs):
        raise DataError("The runs are of different test sets; submit those of one set together.")
    entries = list[Entry]()
    for run in runs:
        regime = regime_of(run)
        primary = all(entry.regime != regime for entry in entries)
        entries.append(_entry(run, regime, primary=primary))
    return entries


def regime_of(run: Run) -> str:
    """The regime that a run's latency falls into. Raises DataError where it is in none."""
    latency = run.scores.get(LATENCY)
    if latency is None:
        raise DataError(f"{run.folder} has no {LATENCY}; evaluate whole recordings (--long for MuST-C) and score them.")
    for name, (low, high) in REGIMES.items():
        if (low < latency or low == 0) and latency <= high:
            return name
    raise DataError(
        f"{run.folder} has a {LATENCY} of {latency / 1000:.2f} s, above the 4 s of the slowest regime; choose "
        "parameters that wait less."
    )


def _entry(run: Run, regime: str, *, primary: bool) -> Entry:
    log = run.folder / "instances.log"
    if not log.is_file() or not run.info:
        raise DataError(f"{run.folder} has no instances.log and run.json; submit folders of `simulst evaluate`.")
    if run.info.get("failed"):
        raise DataError(f"{run.folder} lacks recordings that failed; run the same `simulst evaluate` again.")
    if _part(run.info, "policy").get("code") or "glossary" in run.info:
        what = "glossary" if "glossary" in run.info else "policy"
        raise DataError(f"{run.folder} was made with a {what} from a file of yours, which the container would lack.")
    unit = read_unit(str(run.info.get("unit", "word")))
    return Entry(run=run, regime=regime, instances=read_instances(log), unit=unit, primary=primary)


def _write_run(folder: Path, entry: Entry) -> None:
    """Both logs of a run, its scores, and what it is; without paths and names of the machine that it was made on."""
    folder.mkdir(parents=True)
    write_log(folder / "simulstream.jsonl", entry.instances, "simulstream", entry.unit)
    write_log(folder / "instances.log", entry.instances, "simuleval", entry.unit)
    names = ("scores.json", "scores.tsv", "segments.tsv")
    texts = {folder / name: (entry.run.folder / name).read_text(encoding="utf-8") for name in names}
    kept = ("model", "policy", "chunk_ms", "unit", "final_only", "seed", "data", "versions")
    about = {key: entry.run.info[key] for key in kept if key in entry.run.info}
    write_texts(texts | {folder / "run.json": json.dumps(about, indent=1, ensure_ascii=False) + "\n"})


def readme(entries: Sequence[Entry], system: str) -> str:
    """What the folder holds, in Markdown."""
    logs = " and ".join(f"`{path.name}`" for path in log_files(Path("simulstream.jsonl"), "simulstream"))
    parts = [
        f"# {system}",
        f"Simultaneous speech translation, test set {_data(entries[0].run)}. Regimes go by computation-unaware "
        f"{LATENCY}: low up to 2 s, high above 2 s and up to 4 s. Latencies are in seconds.",
        _table(entries),
        f"Each folder has the log in simulstream's format ({logs}) and SimulEval's (`instances.log`), all scores with "
        "their signatures (`scores.tsv`), every segment (`segments.tsv`), and model, policy and versions (`run.json`).",
        "## Run it",
        "The container answers simulstream's HTTP processor protocol, so that its harness drives the system. Put the "
        "wheel of simulst beside this file, then:",
        f"```\npodman build -t submission .\npodman run -p {_PORT}:{_PORT} submission\n```",
        "That is the first run of the table; by name:",
        "```\n" + "\n".join(_podman(entry) for entry in entries) + "\n```",
        *([f"Weights are not in this folder: {_weights(entries)}."] if _weights(entries) else []),
        "## Score it",
        f"```\nsimulst score {entries[0].folder}/simulstream.jsonl "
        f"--log-config {entries[0].folder}/simulstream_cfg.yaml --references FILE --segmentation FILE\n```",
        "\n".join(f"- {entry.folder}: `{entry.run.signatures.get(LATENCY, '')}`" for entry in entries),
    ]
    return "\n\n".join(parts) + "\n"


def _table(entries: Sequence[Entry]) -> str:
    names = [name for name in QUALITIES if any(name in entry.run.scores for entry in entries)]
    latencies = [name for name in (LATENCY, f"{LATENCY}_CA", "StreamLAAL") if name in entries[0].run.scores]
    rows = [["regime", "run", "", "model", "policy", *names, *latencies]]
    rows.append(["---"] * len(rows[0]))
    for entry in sorted(entries, key=lambda one: list(REGIMES).index(one.regime)):
        scores = entry.run.scores
        kind = "primary" if entry.primary else "contrastive"
        cells = [entry.regime, entry.run.name, kind, entry.run.model, entry.run.policy]
        cells += [f"{scores[name]:.2f}" if name in scores else "" for name in names]
        rows.append([*cells, *(f"{scores[name] / 1000:.2f}" if name in scores else "" for name in latencies)])
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _data(run: Run) -> str:
    data = _part(run.info, "data")
    pair = f", {data.get('source_lang')} to {data.get('target_lang')}" if data.get("target_lang") else ""
    return f"{data.get('name')}{pair} (fingerprint {data.get('fingerprint')})"


def arguments(entry: Entry) -> list[str]:
    """Of `simulst`: what serves the model and policy of a run to simulstream's harness."""
    info = entry.run.info
    found = ["serve-simulstream", "--host", "0.0.0.0", "--port", str(_PORT), "--model", _model(entry.run)]
    found += ["--policy", entry.run.policy, "--chunk-ms", str(info.get("chunk_ms", 640))]
    if (dtype := _part(info, "model").get("dtype", "float32")) != "float32":
        found += ["--dtype", str(dtype)]
    for key, value in _settings(info):
        found += ["--set", f"{key}={value}"]
    return found


def _settings(info: Mapping[str, object]) -> list[tuple[str, object]]:
    """What was set for policy, history and model, where it is not what they have by themselves."""
    policy, model = _part(info, "policy"), _part(info, "model")
    usual = load_policy(str(policy.get("name")))
    parameters = {str(one["name"]): one["value"] for one in describe(type(usual.policy), usual.policy)}
    known: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
        ("policy", _part(policy, "parameters"), parameters),
        ("history", _part(policy, "history"), asdict(usual.history)),
        ("model", _part(model, "options"), {}),
    )
    changed = [
        (f"{owner}.{key}", value)
        for owner, values, defaults in known
        for key, value in values.items()
        if key not in defaults or value != defaults[key]
    ]
    words = {True: "true", False: "false", None: "none"}
    return [(key, words[value] if value is None or isinstance(value, bool) else value) for key, value in changed]


def _part(info: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = info.get(key)
    return found if isinstance(found, Mapping) else {}


def _model(run: Run) -> str:
    """What `--model` is in the container: the weights of a directory lie in /weights there."""
    directory = Path(run.model)
    return f"/weights/{directory.resolve().name}" if directory.is_dir() else run.model


def _weights(entries: Sequence[Entry]) -> str:
    """Which directories of weights must be put beside the Containerfile."""
    names = [_model(entry.run) for entry in entries if _model(entry.run).startswith("/weights/")]
    return ", ".join(f"put them into `{name.removeprefix('/')}`" for name in dict.fromkeys(names))


def _podman(entry: Entry) -> str:
    return f"podman run -p {_PORT}:{_PORT} submission {shlex.join(arguments(entry))}  # {entry.folder}"


def containerfile(entries: Sequence[Entry]) -> str:
    """Instructions for an image that serves the first run unless told otherwise."""
    first = min(entries, key=lambda one: list(REGIMES).index(one.regime))
    copied = ["COPY weights /weights"] if _weights(entries) else []
    return "\n".join(
        [
            "FROM docker.io/library/python:3.11-slim",
            "COPY simulst-*.whl /tmp/",
            "RUN pip install --no-cache-dir /tmp/simulst-*.whl && rm /tmp/simulst-*.whl",
            *copied,
            f"EXPOSE {_PORT}",
            'ENTRYPOINT ["simulst"]',
            f"CMD {json.dumps(arguments(first))}",
            "",
        ]
    )
