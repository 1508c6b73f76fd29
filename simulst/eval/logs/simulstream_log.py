"""simulstream logs: JSON lines of chunks with the tokens each one added and took back, in seconds.

The final text is rebuilt and every unit gets the time of the chunk that last changed it, as simulstream 1.0.0 does.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simulst.errors import DataError
from simulst.eval.logs.clock import finish_times
from simulst.eval.logs.instances import Instance, read_json_lines, read_text
from simulst.eval.logs.units import Unit
from simulst.outputs import write_texts

TokenKind = Literal["word", "char", "spm"]
_SPM_SPACE = "▁"


class UnitStack:
    """The units of a text that grows and shrinks token by token; each change costs only the tokens it touches.

    spm: tokens are joined, "▁" is a space, and outer spaces do not count; word: joined with spaces; char: joined.
    """

    def __init__(self, kind: TokenKind, unit: Unit) -> None:
        self.units: list[str] = []
        self._kind = kind
        self._unit = unit
        self._open = False
        """Whether the next letter continues the last word."""
        self._blanks = 0
        """Spaces at the end of the text, not yet units."""
        self._undo: list[tuple[int, str, bool, int]] = []

    def push(self, token: str) -> None:
        self._undo.append((len(self.units), self.units[-1] if self.units else "", self._open, self._blanks))
        text = token.replace(_SPM_SPACE, " ") if self._kind == "spm" else token
        if self._unit == "char":
            self._add_characters(" " + text if self._kind == "word" and len(self._undo) > 1 else text)
        else:
            if self._kind == "word":
                self._open = False
            self._add_words(text)

    def pop(self, count: int) -> None:
        """Forget the last `count` tokens."""
        if count:
            length, last, self._open, self._blanks = self._undo[-count]
            del self._undo[-count:]
            del self.units[length:]
            if length:
                self.units[-1] = last

    def _add_words(self, text: str) -> None:
        for position, part in enumerate(text.split(" ")):
            if position:
                self._open = False
            if part and self._open:
                self.units[-1] += part
            elif part:
                self.units.append(part)
            self._open = self._open or bool(part)

    def _add_characters(self, text: str) -> None:
        strip = self._kind == "spm"
        for character in text:
            if strip and character.isspace():
                self._blanks += bool(self.units)
                continue
            self.units.extend(" " * self._blanks + character)
            self._blanks = 0


class WholeText:
    """The units of a text whose detokeniser takes all tokens at once; slower, as it runs at every change."""

    def __init__(self, detokenise: Callable[[list[str]], str], unit: Unit) -> None:
        self._tokens: list[str] = []
        self._detokenise = detokenise
        self._unit = unit

    @property
    def units(self) -> list[str]:
        text = self._detokenise(self._tokens)
        return list(text) if self._unit == "char" else [word for word in text.split(" ") if word]

    def push(self, token: str) -> None:
        self._tokens.append(token)

    def pop(self, count: int) -> None:
        if count:
            del self._tokens[-count:]


Text = UnitStack | WholeText


@dataclass(kw_only=True)
class _Emitted:
    """Times of the units on screen, milliseconds."""

    delays: list[float]
    elapsed: list[float]
    finished: list[float]

    def cut(self, count: int) -> None:
        for times in (self.delays, self.elapsed, self.finished):
            del times[count:]

    def put(self, index: int, now: tuple[float, float, float]) -> None:
        for times, time in zip((self.delays, self.elapsed, self.finished), now, strict=True):
            times[index] = time

    def extend(self, count: int, now: tuple[float, float, float]) -> None:
        for times, time in zip((self.delays, self.elapsed, self.finished), now, strict=True):
            times.extend([time] * count)


def read_simulstream(
    path: str | os.PathLike[str], config: str | os.PathLike[str], unit: Unit
) -> tuple[list[Instance], list[str]]:
    """One instance per audio, in the order of the log; `config` is simulstream's evaluation yaml (the detokeniser)."""
    make = _text_maker(config, unit)
    records, notes = read_json_lines(path)
    names: dict[object, str] = {}
    chunks: dict[str, list[tuple[dict[str, object], str]]] = {}
    for record, where in records:
        if not isinstance(record.get("id"), str | int | None):
            raise DataError(f"{where}: `id` must be a number or text.")
        if isinstance(metadata := record.get("metadata"), dict):
            name = metadata.get("wav_name")
            if not isinstance(name, str):
                raise DataError(f"{where}: the metadata have no `wav_name`.")
            names[record.get("id")] = name
        elif "id" in record:
            if record["id"] not in names:
                raise DataError(f"{where}: id {record['id']!r} has no metadata line with `wav_name` before it.")
            chunks.setdefault(names[record["id"]], []).append((record, where))
    if not chunks:
        raise DataError(f"{Path(path).name} has no chunks; is it a simulstream log?")
    return [_instance(i, wav, lines, make, unit) for i, (wav, lines) in enumerate(chunks.items())], notes


def write_simulstream(
    path: str | os.PathLike[str], config: str | os.PathLike[str], instances: Iterable[Instance], unit: Unit
) -> None:
    """Write an append-only log and the configuration that reads it; computation is what `elapsed` grew by."""
    lines: list[dict[str, object]] = []
    for number, instance in enumerate(instances):
        lines.append({"id": number, "metadata": {"wav_name": instance.source}})
        units = instance.units(unit)
        spent, k = 0.0, 0
        while k < len(units):
            end = k
            while end < len(units) and instance.delays_ms[end] == instance.delays_ms[k]:
                end += 1
            total = instance.elapsed_ms[k] - instance.delays_ms[k] if instance.elapsed_ms else 0.0
            compute = total - spent if instance.cumulative else total
            spent = total
            lines.append(_line(number, instance.delays_ms[k], max(0.0, compute), units[k:end]))
            k = end
        if instance.source_length_ms is not None:
            last = max([instance.source_length_ms, *instance.delays_ms])
            lines.append(_line(number, last, 0.0, []))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_texts({Path(path): text, Path(config): f"detokenizer_type: simuleval\nlatency_unit: {unit}\n"})


def _line(number: int, audio_ms: float, compute_ms: float, tokens: Sequence[str]) -> dict[str, object]:
    return {
        "id": number,
        "total_audio_processed": round(audio_ms / 1000.0, 9),
        "computation_time": round(compute_ms / 1000.0, 9),
        "generated_tokens": list(tokens),
        "deleted_tokens": [],
    }


def _instance(
    index: int, wav: str, lines: Sequence[tuple[dict[str, object], str]], make: Callable[[], Text], unit: Unit
) -> Instance:
    clock = [
        (1000.0 * _seconds(r, "total_audio_processed", w), 1000.0 * _seconds(r, "computation_time", w))
        for r, w in lines
    ]
    text, shown = make(), _Emitted(delays=[], elapsed=[], finished=[])
    tokens: list[str] = []
    erased = 0
    for (record, where), (audio, compute), finished in zip(lines, clock, finish_times(clock), strict=True):
        now = (audio, audio + compute, finished)
        deleted, generated = (_tokens(record, key, where) for key in ("deleted_tokens", "generated_tokens"))
        if deleted:
            if tokens[-len(deleted) :] != deleted:
                raise DataError(f"{where}: the deleted tokens are not the last ones that were generated.")
            lost = make()
            for token in deleted:
                lost.push(token)
            erased += len(lost.units)
            del tokens[-len(deleted) :]
            before = list(text.units)
            text.pop(len(deleted))
            _shrink(shown, before, text.units, unit, now)
        if generated:
            before_count, before_last = len(text.units), (text.units or [""])[-1]
            tokens += generated
            for token in generated:
                text.push(token)
            _grow(shown, before_count, before_last, text.units, unit, now)
    units = list(text.units)
    return Instance(
        index=index,
        source=wav,
        prediction=" ".join(units) if unit == "word" else "".join(units),
        delays_ms=tuple(shown.delays),
        elapsed_ms=tuple(shown.elapsed),
        cumulative=False,
        backlog_ms=tuple(shown.finished),
        source_length_ms=clock[-1][0],
        chunks=tuple(clock),
        erased_units=erased,
        where=lines[0][1],
    )


def _shrink(shown: _Emitted, before: list[str], after: list[str], unit: Unit, now: tuple[float, float, float]) -> None:
    """A word that lost only its end is as late as that change."""
    shown.cut(len(after))
    if unit == "word" and after and before[len(after) - 1] != after[-1]:
        shown.put(-1, now)


def _grow(
    shown: _Emitted, count: int, last: str, after: list[str], unit: Unit, now: tuple[float, float, float]
) -> None:
    """A word that got a new end is as late as that change."""
    shown.extend(len(after) - count, now)
    if unit == "word" and count and after[count - 1] != last:
        shown.put(count - 1, now)


def _seconds(record: dict[str, object], key: str, where: str) -> float:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise DataError(f"{where}: `{key}` must be seconds, 0 or more, but is {value!r}.")
    return float(value)


def _tokens(record: dict[str, object], key: str, where: str) -> list[str]:
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise DataError(f"{where}: `{key}` must be a list of tokens.")
    return value


def _text_maker(config: str | os.PathLike[str], unit: Unit) -> Callable[[], Text]:
    import yaml

    name = Path(config).name
    try:
        settings = yaml.safe_load(read_text(config))
    except (yaml.YAMLError, RecursionError):  # the latter of lists in lists in lists
        settings = None
    if not isinstance(settings, dict) or "detokenizer_type" not in settings:
        raise DataError(f"{name} must be simulstream's evaluation yaml with `detokenizer_type`.")
    kind = settings["detokenizer_type"]
    if kind == "simuleval":
        token_kind = settings.get("latency_unit")
        if token_kind not in ("word", "char", "spm"):
            raise DataError(f"{name}: `latency_unit` must be word, char or spm, but is {token_kind!r}.")
        return lambda: UnitStack(token_kind, unit)
    if kind == "hf" and isinstance(settings.get("hf_model_name"), str):
        detokenise = _hugging_face(settings["hf_model_name"])
        return lambda: WholeText(detokenise, unit)
    raise DataError(f"{name}: detokenizer_type {kind!r} is not supported; use simuleval, or hf with `hf_model_name`.")


def _hugging_face(model: str) -> Callable[[list[str]], str]:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError):
        raise DataError(f"The tokeniser {model} cannot be loaded; check hf_model_name or download it first.") from None
    detokenise: Callable[[list[str]], str] = tokenizer.convert_tokens_to_string
    return detokenise
