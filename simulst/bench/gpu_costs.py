"""What streams that are computed together cost on a device, and how many of them it carries in real time."""

import threading
import time
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from simulst.core.query import Evidence, Query
from simulst.core.source import SAMPLE_RATE
from simulst.core.translator import FloatArray, Translator, TranslatorSession
from simulst.models.batchers import batcher_of

if TYPE_CHECKING:
    import torch

    from simulst.policies import LoadedPolicy

WAIT_S = 0.02
"""As in the live server: what a stream waits for the others."""
GIVEN_UP_S = 10.0
"""A stream that is this far behind has lost."""
APART_S = 7.3
BLOCK_S = 0.64
ROWS = frozenset({Evidence.LOGPROBS, Evidence.ALIGNMENT})


class Together(TypedDict):
    """Streams that hear the same seconds and decode as many tokens, each as soon as it can."""

    streams: int
    ms_per_chunk: float
    """Of 0.64 s of audio of every stream through the encoder."""
    ms_per_token: float
    """Of one token of every stream."""
    tokens_per_s: float
    mb_per_stream: float | None
    """Memory of the GPU; none on a CPU."""
    same_share: float
    """Of the first, the middle and the last stream those that say what they say alone."""


class Carried(TypedDict):
    """Streams at the pace of speech: when a chunk's text is there, after the chunk was said."""

    streams: int
    lag_p50_ms: int
    lag_p95_ms: int
    lag_p99_ms: int
    in_time: bool
    """95 % of the chunks are done before the next one is said."""


def settled(device: "torch.device") -> float:
    """The time once the device has done what it was asked."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter()


def used_mb(device: "torch.device") -> float | None:
    """Memory of the GPU that holds tensors."""
    if device.type != "cuda":
        return None
    import torch

    return torch.cuda.memory_allocated(device) / 2**20


def parts(talk: FloatArray, streams: int, seconds: float) -> list[FloatArray]:
    """Audio of every stream; they begin apart in the recording, and it is as long as the last one needs."""
    needed = int((APART_S * (streams - 1) + seconds) * SAMPLE_RATE)
    talk = np.tile(talk, -(-needed // len(talk)))
    starts = (int(i * APART_S * SAMPLE_RATE) for i in range(streams))
    return [talk[at : at + int(seconds * SAMPLE_RATE)] for at in starts]


def hear(translator: Translator, audio: FloatArray) -> TranslatorSession:
    """A stream that has heard its audio chunk by chunk."""
    session, block = translator.open(), int(BLOCK_S * SAMPLE_RATE)
    for at in range(0, len(audio), block):
        session.extend_source(audio[at : at + block])
    return session


def decode(session: TranslatorSession, tokens: int) -> tuple[int, ...]:
    """What a stream says of what it has heard, `tokens` at most."""
    return session.hypothesise((), Query(max_new=tokens, want=ROWS))[0].ids


def together(
    model: Translator, device: "torch.device", talk: FloatArray, *, streams: int, seconds: float, tokens: int
) -> Together:
    """Costs of `streams` streams in one batch; the first, the middle and the last are decoded alone as well."""
    audio, batcher = parts(talk, streams, seconds), batcher_of(model, streams=streams)
    batcher.map(lambda translator, one: decode(hear(translator, one), 2), audio)
    before, began = used_mb(device), settled(device)
    sessions = batcher.map(hear, audio)
    heard = settled(device)
    said = batcher.map(lambda _, session: decode(session, tokens), sessions)
    done, after = settled(device), used_mb(device)
    checked = sorted({0, streams // 2, streams - 1})
    alone = [decode(hear(model, audio[i]), tokens) for i in checked]
    same = sum(said[i] == one for i, one in zip(checked, alone, strict=True))
    return Together(
        streams=streams,
        ms_per_chunk=round(1000 * (heard - began) / (seconds / BLOCK_S), 2),
        ms_per_token=round(1000 * (done - heard) / max(1, *map(len, said)), 2),
        tokens_per_s=round(sum(map(len, said)) / (done - heard), 1),
        mb_per_stream=None if before is None or after is None else round((after - before) / streams, 2),
        same_share=round(same / len(checked), 2),
    )


def carried(
    model: Translator, policy: "LoadedPolicy", chunk_ms: int | None, talk: FloatArray, *, streams: int, seconds: float
) -> Carried:
    """Lag of the chunks of streams that come at the pace of speech, one after the other within a chunk."""
    from simulst.core.session import Session

    batcher = batcher_of(model, streams=streams, wait_s=WAIT_S)
    sessions = [Session(batcher.translator, policy, chunk_ms=chunk_ms) for _ in range(streams)]
    chunk_s = sessions[0].chunk_ms / 1000
    size, lags, lost = int(chunk_s * SAMPLE_RATE), list[float](), threading.Event()
    began = time.perf_counter() + 0.2

    def follow(session: Session, audio: FloatArray, late_s: float) -> None:
        for number in range(len(audio) // size):
            due = began + late_s + (number + 1) * chunk_s
            time.sleep(max(0.0, due - time.perf_counter()))
            with batcher.stream():
                session.feed(audio[number * size : (number + 1) * size])
            lags.append(time.perf_counter() - due)
            if lags[-1] > GIVEN_UP_S or lost.is_set():
                lost.set()
                return

    audio = parts(talk, streams, seconds)
    threads = [
        threading.Thread(target=follow, args=(session, one, i * chunk_s / streams), daemon=True)
        for i, (session, one) in enumerate(zip(sessions, audio, strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p95, p99 = (float(one) for one in np.percentile(lags, (50, 95, 99)))
    return Carried(
        streams=streams,
        lag_p50_ms=round(1000 * p50),
        lag_p95_ms=round(1000 * p95),
        lag_p99_ms=round(1000 * p99),
        in_time=p95 < chunk_s and not lost.is_set(),
    )
