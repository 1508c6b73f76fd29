"""Several streams decoded together, compared with the same streams one at a time."""

import time
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from simulst.core.translator import FloatArray, Translator
    from simulst.policies import LoadedPolicy

APART_S = 7.3
"""The streams begin this far apart in the recording, so that they differ."""


class BatchCost(TypedDict):
    """What `batch_cost` finds."""

    streams: int
    seconds: float
    threads: dict[str, int]
    alone: dict[str, float]
    together: dict[str, float]
    ratio: float
    ratio_cpu: float
    same_text: int


def batch_cost(
    model: "Translator",
    policy: "str | LoadedPolicy",
    chunk_ms: int | None,
    talk: "FloatArray",
    *,
    streams: int,
    seconds: float,
    threads: tuple[int, int],
) -> BatchCost:
    """Seconds of audio per second and CPU time of `streams` recordings, alone (half of them before, half after) and
    together; `threads` of the model for each."""
    import torch

    from simulst.audio import SAMPLE_RATE
    from simulst.core.session import Session
    from simulst.eval.run.stream import pieces
    from simulst.models.batchers import batcher_of
    from simulst.policies import load_policy
    from simulst.sinks.drive import drive

    batcher = batcher_of(model, streams=streams)
    starts = [int(i * APART_S * SAMPLE_RATE) for i in range(streams)]
    recordings = [talk[at : at + int(seconds * SAMPLE_RATE)] for at in starts]

    def translate(translator: "Translator", audio: "FloatArray") -> str:
        session = Session(translator, load_policy(policy), chunk_ms=chunk_ms)
        drive(session, pieces([audio], round(session.chunk_ms * SAMPLE_RATE / 1000)), [])
        return session.text

    translate(model, recordings[0][:80_000])
    texts, alone, together, middle = list[str](), _Watch(), _Watch(), streams // 2
    torch.set_num_threads(threads[0])
    with alone:
        texts += [translate(model, audio) for audio in recordings[:middle]]
    torch.set_num_threads(threads[1])
    with together:
        found = batcher.map(translate, recordings)
    torch.set_num_threads(threads[0])
    with alone:
        texts += [translate(model, audio) for audio in recordings[middle:]]
    audio_s = streams * seconds
    return {
        "streams": streams,
        "seconds": seconds,
        "threads": {"alone": threads[0], "together": threads[1]},
        "alone": alone.result(audio_s),
        "together": together.result(audio_s) | {"requests_per_forward": round(batcher.stats.mean, 2)},
        "ratio": round(alone.wall_s / together.wall_s, 2),
        "ratio_cpu": round(alone.cpu_s / together.cpu_s, 2),
        "same_text": sum(a == b for a, b in zip(texts, found, strict=True)),
    }


class _Watch:
    """Adds up wall-clock and CPU time of what happens inside."""

    wall_s = cpu_s = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall_s += time.perf_counter() - self._began[0]
        self.cpu_s += time.process_time() - self._began[1]

    def result(self, audio_s: float) -> dict[str, float]:
        return {"audio_s_per_s": round(audio_s / self.wall_s, 2), "cpu_s_per_audio_s": round(self.cpu_s / audio_s, 4)}
