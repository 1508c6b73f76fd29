"""Which log is this? SimulEval's, simulstream's and OmniSTEval's formats read into the same instances, and written."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from simulst.errors import DataError
from simulst.eval.logs.clock import increments
from simulst.eval.logs.instances import (
    Instance,
    instance_from_json,
    parse_json,
    read_json_lines,
    read_text,
    write_instances,
)
from simulst.eval.logs.simulstream_log import read_simulstream, write_simulstream
from simulst.eval.logs.units import Unit
from simulst.outputs import write_text

LogFormat = Literal["simuleval", "simulstream", "omnisteval", "resegmented", "text"]
WRITABLE: tuple[LogFormat, ...] = ("simuleval", "simulstream", "omnisteval", "text")


def detect_format(path: str | os.PathLike[str]) -> LogFormat:
    """Format by the keys of the first record; a first line that is not a JSON object means plain text."""
    for line in read_text(path).split("\n"):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except ValueError:
            return "simuleval" if line.lstrip().startswith("{") else "text"
        if not isinstance(record, dict):
            return "text"
        if "prediction" in record and ("emission_cu" in record or "time_to_recording_end" in record):
            return "resegmented"
        if "prediction" in record:
            return "simuleval" if "index" in record else "omnisteval"
        if "model_loading_time" in record or "metadata" in record or "total_audio_processed" in record:
            return "simulstream"
        raise DataError(
            f"{Path(path).name}, line 1: none of SimulEval's, simulstream's or OmniSTEval's keys; has {_some(record)}."
        )
    raise DataError(f"{Path(path).name} is empty; the run wrote nothing.")


def read_log(
    path: str | os.PathLike[str], *, unit: Unit, config: str | os.PathLike[str] | None = None
) -> tuple[list[Instance], list[str]]:
    """Instances of a log in any known format, and notes about what was left out."""
    kind = detect_format(path)
    if kind == "simulstream":
        if config is None:
            raise DataError(f"{Path(path).name} is a simulstream log; give its evaluation yaml with --log-config.")
        return read_simulstream(path, config, unit)
    if kind == "text":
        return _read_plain_text(path), []
    records, notes = read_json_lines(path)
    parse = _resegmented_instance if kind == "resegmented" else instance_from_json
    instances = [parse(record, where) for record, where in records]
    if not instances:
        raise DataError(f"{Path(path).name} holds no whole line; the run was interrupted before its first instance.")
    return instances, notes


def write_log(path: str | os.PathLike[str], instances: Sequence[Instance], to: LogFormat, unit: Unit) -> list[Path]:
    """Write instances in another format; returns the files (simulstream needs a configuration next to its log)."""
    target, *beside = files = log_files(Path(path), to)
    if to == "simulstream":
        write_simulstream(target, beside[0], instances, unit)
    elif to == "omnisteval":
        write_text(target, "".join(_omnisteval_line(i, unit) for i in instances))
    elif to == "text":
        write_text(target, "".join(" ".join(i.prediction.split("\n")) + "\n" for i in instances))
    else:
        write_instances(target, [_with_cumulative_times(i) for i in instances])
    return files


def log_files(path: Path, to: str) -> list[Path]:
    """What `write_log` writes: the log, and simulstream's configuration."""
    return [path, path.with_name(path.stem + "_cfg.yaml")] if to == "simulstream" else [path]


def _omnisteval_line(instance: Instance, unit: Unit) -> str:
    units = instance.units(unit)
    elapsed = instance.elapsed_ms
    if instance.cumulative and elapsed:
        elapsed = tuple(increments(instance.delays_ms, elapsed))
    record = {
        "source": instance.source,
        "prediction": " ".join(units) if unit == "word" else "".join(units),
        "delays": list(instance.delays_ms),
        "elapsed": list(elapsed),
        "source_length": instance.source_length_ms,
    }
    return json.dumps(record, ensure_ascii=False) + "\n"


def _with_cumulative_times(instance: Instance) -> Instance:
    """SimulEval's clock: delay plus all computation so far, from the chunks or from the emitting chunks alone."""
    if instance.cumulative or not instance.elapsed_ms:
        return instance
    elapsed, total = [], 0.0
    for k, (delay, e) in enumerate(zip(instance.delays_ms, instance.elapsed_ms, strict=True)):
        if instance.chunks:
            total = sum(compute for audio, compute in instance.chunks if audio <= delay)
        elif k == 0 or delay != instance.delays_ms[k - 1]:
            total += e - delay
        elapsed.append(delay + total)
    return replace(instance, elapsed_ms=tuple(elapsed), cumulative=True)


def _resegmented_instance(record: Mapping[str, object], where: str) -> Instance:
    """A line of OmniSTEval's instances.resegmented.jsonl: a segment, times relative to it."""
    renamed = {
        "source": f"{record.get('docid', 0)}:{record.get('segid', 0)}",
        "delays": record.get("emission_cu"),
        "elapsed": record.get("emission_ca"),
    }
    others = {key: value for key, value in record.items() if key not in ("emission_cu", "emission_ca")}
    return replace(instance_from_json(others | renamed, where), cumulative=False)


def _read_plain_text(path: str | os.PathLike[str]) -> list[Instance]:
    lines = read_text(path).removesuffix("\n").split("\n")
    name = Path(path).name
    return [
        Instance(index=i, source="", prediction=line.strip(), where=f"{name}, line {i + 1}")
        for i, line in enumerate(lines)
    ]


def _some(record: dict[str, object]) -> str:
    return ", ".join(list(record)[:4]) or "no key"
