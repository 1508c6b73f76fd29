"""Run logs: one `Instance` per stream, read from and written to SimulEval's instances.log.

Format: one JSON object per line with `index, prediction, delays, elapsed, prediction_length, reference, source,
source_length` (milliseconds). Keys that simulst adds: `chunks`, a list of [audio_ms, compute_ms] per step, from which
the backlog-aware clock is exact, and `erased_units`. Unknown keys are kept in `Instance.extra`.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from simulst.errors import DataError
from simulst.eval.logs.units import Unit, split_units
from simulst.outputs import write_text


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One stream as a system translated it: the final text and when each of its units was emitted."""

    index: int
    source: str
    """Path or name of the audio."""
    prediction: str
    delays_ms: tuple[float, ...] = ()
    """Audio received when each unit was emitted; empty when the log has no times."""
    elapsed_ms: tuple[float, ...] = ()
    """Emission times with computation, in the convention that `cumulative` names; empty when not measured."""
    cumulative: bool = True
    """True: SimulEval's clock, delay plus all computation since the stream began. False: plus that of one chunk."""
    backlog_ms: tuple[float, ...] = ()
    """When each unit really appeared if no chunk can start before the one before it is finished; empty when unknown."""
    source_length_ms: float | None = None
    reference: str | None = None
    chunks: tuple[tuple[float, float], ...] = ()
    """Audio received and computation spent at each step, both milliseconds."""
    erased_units: int | None = None
    """Units that were shown and later taken back; None when the log cannot say."""
    extra: Mapping[str, object] = field(default_factory=dict)
    where: str = field(default="", compare=False)
    """File and line, for messages."""

    def units(self, unit: Unit) -> list[str]:
        """The prediction cut into as many units as there are delays; DataError when no convention gives that many."""
        count = len(self.delays_ms) if self.delays_ms or not self.prediction.strip() else None
        units = split_units(self.prediction, unit, count)
        if units is None:
            found = len(split_units(self.prediction, unit) or [])
            raise DataError(
                f"{self.where or self.source}: {len(self.delays_ms)} delays for {found} {unit} units; "
                f"was the log made with another latency unit? Choose it with --unit."
            )
        return units


def instance_from_json(record: Mapping[str, object], where: str = "") -> Instance:
    """Read one record of SimulEval's format; old logs with `</s>` at the end and a `metric` key are accepted."""
    for key in ("prediction", "source"):
        if key not in record:
            raise DataError(
                f"{where}: no `{key}`; every line of a SimulEval or OmniSTEval log needs prediction and source."
            )
    source = record["source"]
    source = source[0] if isinstance(source, list) and source else source
    if not isinstance(source, str) or not isinstance(record["prediction"], str):
        raise DataError(f"{where}: `source` and `prediction` must be text.")
    delays, elapsed = _times(record, "delays", where), _times(record, "elapsed", where)
    prediction, delays, elapsed = _without_end_mark(record["prediction"], delays, elapsed)
    if elapsed and len(elapsed) != len(delays):
        raise DataError(f"{where}: {len(delays)} delays but {len(elapsed)} elapsed times; the counts must match.")
    length = _number(record.get("source_length"), "source_length", where)
    reference = record.get("reference")
    return Instance(
        index=_index(record, where),
        source=source,
        prediction=prediction,
        delays_ms=delays,
        elapsed_ms=elapsed,
        cumulative="index" in record,
        source_length_ms=length,
        reference=reference if isinstance(reference, str) else None,
        chunks=_chunks(record.get("chunks"), where),
        erased_units=_count(record.get("erased_units"), "erased_units", where),
        extra={key: value for key, value in record.items() if key not in _KNOWN_KEYS},
        where=where,
    )


def instance_to_json(instance: Instance) -> dict[str, object]:
    """The record that SimulEval would have written, plus `chunks` and `erased_units` where they are known."""
    record: dict[str, object] = {
        "index": instance.index,
        "prediction": instance.prediction,
        "delays": list(instance.delays_ms),
        "elapsed": list(instance.elapsed_ms),
        "prediction_length": len(instance.delays_ms),
        "reference": instance.reference,
        "source": [instance.source],
        "source_length": instance.source_length_ms,
    }
    if instance.chunks:
        record["chunks"] = [list(chunk) for chunk in instance.chunks]
    if instance.erased_units is not None:
        record["erased_units"] = instance.erased_units
    return record | dict(instance.extra)


def append_instance(path: str | os.PathLike[str], instance: Instance, *, sync: bool = True) -> None:
    """Add one line in a single write; a torn last line is removed first.

    From then on no kill of the process loses the line; with `sync` it is waited for until it is on the disk, so that no
    power cut does either.
    """
    line = json.dumps(instance_to_json(instance), allow_nan=False).encode() + b"\n"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        _drop_torn_line(file)
        while line:  # a full disk may take a part before it refuses
            line = line[os.write(file, line) :]
        if sync:
            os.fsync(file)
    finally:
        os.close(file)


def write_instances(path: str | os.PathLike[str], instances: Iterable[Instance]) -> None:
    text = "".join(json.dumps(instance_to_json(instance), allow_nan=False) + "\n" for instance in instances)
    write_text(path, text)


def read_instances(path: str | os.PathLike[str]) -> list[Instance]:
    """Read instances.log in file order; a torn last line (no newline, not JSON) is left out, any other fault raises."""
    records, _ = read_json_lines(path)
    return [instance_from_json(record, where) for record, where in records]


def read_json_lines(path: str | os.PathLike[str]) -> tuple[list[tuple[dict[str, object], str]], list[str]]:
    """Every object of a JSON-lines file with its place ("name, line 3"), and notes about what was left out."""
    name = Path(path).name
    lines = read_text(path).split("\n")
    records, notes = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            record = parse_json(line)
        except ValueError:
            if number < len(lines):
                raise DataError(f"{where}: not a JSON object; remove or repair the line.") from None
            notes.append(f"{where} is torn (the run was interrupted while it was written) and was left out.")
            continue
        if not isinstance(record, dict):
            raise DataError(f"{where}: not a JSON object; remove or repair the line.")
        if _HALF_CHARACTER.search(line) and not _is_text(record):
            raise DataError(f"{where}: half of a character (an escape from \\ud800 to \\udfff alone); repair the line.")
        records.append((record, where))
    return records, notes


def parse_json(text: str) -> object:
    """ValueError for what is not JSON, and for what is nested so deeply that nothing of ours can have written it."""
    try:
        document: object = json.loads(text)
        return document
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, or a DataError that names it."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); convert it first.") from None


MAX_MS = 1e12
"""Times beyond this, 31 years, are mistakes; sums of them would not be numbers any more."""
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_KNOWN_KEYS = frozenset(
    "index prediction delays elapsed prediction_length reference source source_length chunks erased_units".split()
)


def _index(record: Mapping[str, object], where: str) -> int:
    index = _count(record.get("index", 0), "index", where)
    if index is None:
        raise DataError(f"{where}: `index` must be a whole number, but is null.")
    return index


def _count(value: object, key: str, where: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1e15:
        raise DataError(f"{where}: `{key}` must be a whole number, 0 or more, but is {_shown(value)}.")
    return value


def _number(value: object, key: str, where: str) -> float | None:
    if value is None:
        return None
    if not _is_time(value):
        raise DataError(f"{where}: `{key}` must be a finite number of milliseconds, but is {_shown(value)}.")
    return float(value)


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_MS


def _shown(value: object) -> str:
    """A value for a message, however long it is."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else f"{str(value)[:20]}..."
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_text(record: dict[str, object]) -> bool:
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _times(record: Mapping[str, object], key: str, where: str) -> tuple[float, ...]:
    values = record.get(key) or []
    if not isinstance(values, list):
        raise DataError(f"{where}: `{key}` must be a list of milliseconds.")
    for value in values:
        if not _is_time(value):
            raise DataError(f"{where}: `{key}` must hold finite numbers of milliseconds, but holds {_shown(value)}.")
    return tuple(map(float, values))


def _chunks(values: object, where: str) -> tuple[tuple[float, float], ...]:
    pairs = values or []
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_time, pair)) for pair in pairs
    ):
        raise DataError(f"{where}: `chunks` must be a list of [audio_ms, compute_ms].")
    return tuple((float(audio), float(compute)) for audio, compute in pairs)


def _without_end_mark(
    prediction: str, delays: tuple[float, ...], elapsed: tuple[float, ...]
) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    words = prediction.split()
    if not words or words[-1] != "</s>":
        return prediction, delays, elapsed
    prediction = prediction.rstrip()[: -len("</s>")].rstrip()
    if len(delays) == len(words):
        return prediction, delays[:-1], elapsed[:-1]
    return prediction, delays, elapsed


def _drop_torn_line(file: int) -> None:
    """Cut what stands after the last newline, or end it with one when it is a whole record."""
    end = start = os.fstat(file).st_size
    tail = b""
    while start > 0 and b"\n" not in tail:
        start = max(0, start - 65536)
        tail = os.pread(file, end - start, start)
    torn = tail.rpartition(b"\n")[2]
    if not torn:
        return
    try:
        json.loads(torn)
    except ValueError:
        os.ftruncate(file, end - len(torn))
    else:
        os.write(file, b"\n")
