"""The output folder of a run: what is done is in it line by line, so that a killed run can resume."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from simulst.errors import DataError
from simulst.eval.logs.instances import (
    Instance,
    append_instance,
    instance_to_json,
    parse_json,
    read_instances,
    read_json_lines,
)
from simulst.eval.run.previous import Previous, remove
from simulst.eval.run.spec import difference
from simulst.outputs import naming

LOG, ERRORS, RUN = "instances.log", "errors.jsonl", "run.json"
_RESULTS = ("scores.json", "scores.tsv", "segments.tsv")
TRACES, EXPLAINED = "traces", "explained"
"""Folders of a run: traces of its items, and pages that explain them."""
_REPORT, _LOCK = "report.html", ".lock"
_RANK_LOGS, _RANK_ERRORS = "instances.rank*.log", "errors.rank*.jsonl"
_SYNC_S = 1.0
"""Waiting for the disk costs more than a short item does."""
_IDENTITY = ("model", "policy", "chunk_ms", "unit", "final_only", "seed", "data")


class RunFolder:
    """One process's view of OUT; under torchrun each rank appends to files of its own (`rank`)."""

    def __init__(self, path: Path, *, rank: int | None = None) -> None:
        self.path = path
        suffix = "" if rank is None else f".rank{rank}"
        self._log = path / f"instances{suffix}.log"
        self._errors = path / f"errors{suffix}.jsonl"
        self._previous = Previous(path)
        self._lock: int | None = None
        self._claimed = self._new = False
        self._begun = False
        self._synced = float("-inf")

    def claim(self, description: dict[str, object], session: dict[str, object], *, fresh: bool) -> None:
        """Make the folder this run's, or go on with it; only the first rank does.

        With `fresh` the run that is there makes room, and comes back if this one ends without an item. DataError where
        the folder holds another run or other files, or where another process writes to it; nothing is touched then.
        """
        self._refuse_strangers(fresh=fresh)
        self._make()
        self._take_lock()
        self._claimed = True
        self._recover()
        run = self._described()
        if run is not None and not fresh and (clause := difference(_identity(run), _identity(description, like=run))):
            raise DataError(
                f"{self.path} holds another run: {clause}; choose another --output, or start over with --fresh."
            )
        if run is not None and fresh:
            self._previous.set_aside(self._files())
            run = None
        self._new = run is None
        sessions = [*_sessions(run), session]
        self._write_run({**description, **session, "sessions": sessions})
        self.merge()
        for name in (LOG, ERRORS):
            (self.path / name).touch()

    def abandon(self) -> None:
        """Leave no trace of a run that ends without an item or a failure to tell of; one that made room comes back."""
        if not self._claimed:
            return
        self._recover()
        if self._new and not self._has_items() and not self._files_with_content(ERRORS, _RANK_ERRORS):
            self._remove_files()
            (self.path / _LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def done(self) -> dict[int, Instance]:
        """Finished instances by index; a torn last line does not count."""
        path = self.path / LOG
        return {instance.index: instance for instance in read_instances(path)} if path.is_file() else {}

    def add(self, instance: Instance) -> None:
        """Kept whatever happens to the process; a power cut may lose the last second's instances."""
        sync = time.monotonic() - self._synced >= _SYNC_S
        with naming(self._log):
            append_instance(self._log, instance, sync=sync)
        if not self._begun:
            self._begin()
        if sync:
            self._synced = time.monotonic()

    def fail(self, record: dict[str, object]) -> None:
        line = json.dumps(record, ensure_ascii=False) + "\n"
        with naming(self._errors), self._errors.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def failures(self) -> dict[int, dict[str, object]]:
        """The last failure of every item that is not done."""
        return self._failures(self.done())

    def _failures(self, done: dict[int, Instance]) -> dict[int, dict[str, object]]:
        path = self.path / ERRORS
        records = [record for record, _ in read_json_lines(path)[0]] if path.is_file() else []
        return {index: record for record in records if (index := _index(record)) not in done}

    def merge(self) -> None:
        """Gather what ranks left behind, each instance once, in order; errors of items that are done go."""
        logs, errors = sorted(self.path.glob(_RANK_LOGS)), sorted(self.path.glob(_RANK_ERRORS))
        found = self.done()
        for log in logs:
            found.update({instance.index: instance for instance in read_instances(log)})
        lines = (json.dumps(instance_to_json(found[index]), allow_nan=False) + "\n" for index in sorted(found))
        self._replace(LOG, "".join(lines))
        records: dict[int, dict[str, object]] = self._failures(found)
        for path in errors:
            records.update({i: r for r, _ in read_json_lines(path)[0] if (i := _index(r)) not in found})
        text = "".join(json.dumps(records[i], ensure_ascii=False) + "\n" for i in sorted(records))
        self._replace(ERRORS, text)
        for path in (*logs, *errors):
            path.unlink()

    def note_end(self, end: dict[str, object]) -> None:
        """Add to run.json how this session ended."""
        run = self._described() or {}
        *earlier, last = _sessions(run) or [{}]
        sessions = [*earlier, {**last, **{key: end[key] for key in ("finished", "wall_s") if key in end}}]
        self._write_run({**run, **end, "sessions": sessions})

    def _write_run(self, content: dict[str, object]) -> None:
        self._replace(RUN, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _begin(self) -> None:
        """From its first item on the run stands for itself: scores of fewer must not outlive it, nor the run before."""
        self._begun = True
        for name in _RESULTS:
            (self.path / name).unlink(missing_ok=True)
        self._previous.forget()

    def _replace(self, name: str, text: str) -> None:
        """The whole file or the old one, whenever the process is killed."""
        scratch = self.path / f"{name}.tmp"
        with naming(self.path / name):
            with scratch.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, self.path / name)

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.path} cannot be made: {(error.strerror or str(error)).lower()}.") from None

    def _take_lock(self) -> None:
        """Held while the process lives; forked workers do not inherit it."""
        import fcntl

        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise DataError(
                f"Another process is writing to {self.path}; wait for it or choose another --output."
            ) from None

    def _described(self) -> dict[str, object] | None:
        path = self.path / RUN
        if not path.is_file():
            return None
        try:
            run = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise DataError(f"{path} cannot be read; choose another --output or remove it.") from None
        return run if isinstance(run, dict) else {}

    def _refuse_strangers(self, *, fresh: bool) -> None:
        """Files that no run makes are a sign of a mistake where a run begins; one that goes on leaves them alone."""
        if not self.path.is_dir():
            return
        found = {path for path in self.path.iterdir() if not _passing(path)}
        run = (self.path / RUN).is_file() or self._previous.exists
        others = sorted(path.name for path in (found - set(self._files()) if run else found))
        if others and not run:
            raise DataError(f"{self.path} is not empty (it has {others[0]}) and holds no run; choose another --output.")
        if others and fresh:
            raise DataError(
                f"{self.path} also has {others[0]}, which no run makes; move it away or choose another --output."
            )

    def _recover(self) -> None:
        """Put the run back that made room for one that has no item, or forget it for one that has."""
        if self._previous.cut_off:
            self._previous.put_back()
        elif self._previous.exists and self._has_items():
            self._previous.forget()
        elif self._previous.exists:
            self._remove_files()
            self._previous.put_back()
            self._new = False

    def _has_items(self) -> bool:
        for path in self._files_with_content(LOG, _RANK_LOGS):
            with path.open("rb") as file:
                if file.readline().endswith(b"\n"):
                    return True
        return False

    def _files_with_content(self, *patterns: str) -> list[Path]:
        return [path for pattern in patterns for path in self.path.glob(pattern) if path.stat().st_size]

    def _files(self) -> list[Path]:
        """The files and folders of a run that are there, and no others."""
        ranks = [*self.path.glob(_RANK_LOGS), *self.path.glob(_RANK_ERRORS)]
        named = [self.path / name for name in (LOG, ERRORS, RUN, *_RESULTS, _REPORT)]
        folders = [path for name in (TRACES, EXPLAINED) if (path := self.path / name).is_dir()]
        return [*(path for path in (*named, *ranks) if path.is_file()), *folders]

    def _remove_files(self) -> None:
        for path in self._files():
            remove(path)


def _passing(path: Path) -> bool:
    """Whether it is the lock, what is being written, or a run that made room."""
    return path.name in (_LOCK, ".previous") or path.name.endswith(".tmp")


def _identity(description: dict[str, object], like: dict[str, object] | None = None) -> dict[str, object]:
    """What makes two runs the same; digests only where `like`, an older run, has noted them."""
    found = {key: description.get(key) for key in _IDENTITY}
    for part, digest in (("model", "weights"), ("policy", "code")):
        if like is not None and isinstance(noted := like.get(part), dict) and digest not in noted:
            own = found[part]
            found[part] = {key: value for key, value in own.items() if key != digest} if isinstance(own, dict) else {}
    return found


def _sessions(run: Mapping[str, object] | None) -> list[dict[str, object]]:
    """The sessions that run.json tells of, oldest first."""
    found = (run or {}).get("sessions")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _index(record: Mapping[str, object]) -> int:
    """The item that a line of errors.jsonl is about; DataError where it does not say."""
    index = record.get("index")
    if not isinstance(index, int):
        raise DataError(f"A line of errors.jsonl has no whole number as `index`, but {index!r}; remove the line.")
    return index
