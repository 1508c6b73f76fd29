"""What a run cost: computation per second of audio and decoder entries per token, as far as the log knows them."""

from simulst.eval.logs.instances import Instance
from simulst.eval.metrics.metric import Corpus, Metric, Shown


def computation_and_audio_ms(instance: Instance) -> tuple[float, float] | None:
    """Computation and audio of one stream, None if unknown; elapsed times tell it up to the last emission."""
    if instance.chunks:
        return sum(compute for _, compute in instance.chunks), instance.chunks[-1][0]
    if instance.source_length_ms is None or not instance.cumulative or not instance.elapsed_ms:
        return None
    return instance.elapsed_ms[-1] - instance.delays_ms[-1], instance.source_length_ms


def _wall(run: Corpus) -> float | None:
    known = [pair for instance in run.instances if (pair := computation_and_audio_ms(instance)) is not None]
    audio = sum(pair[1] for pair in known)
    return sum(pair[0] for pair in known) / audio if audio > 0 else None


def _processor(run: Corpus) -> float | None:
    """The time of the processor, which does not depend on what else runs, over the audio of whole streams."""
    timed = [
        (cpu_s, instance.source_length_ms)
        for instance in run.instances
        if isinstance(cpu_s := instance.extra.get("cpu_s"), float) and instance.source_length_ms
    ]
    return 1000 * sum(cpu_s for cpu_s, _ in timed) / sum(length_ms for _, length_ms in timed) if timed else None


def _positions(run: Corpus) -> float | None:
    tokens = sum(_count(instance, "tokens") for instance in run.instances)
    processed = sum(_count(instance, "decoder_positions") for instance in run.instances)
    return processed / tokens if tokens and processed else None


def _count(instance: Instance, key: str) -> int:
    value = instance.extra.get(key)
    return value if isinstance(value, int) else 0


COMPUTE_RTF = Metric(
    name="ComputeRTF",
    unit="",
    kind="run",
    definition="seconds of computation per second of audio, from the "
    "chunks if the log has them (`compute:chunks`), else up to the last emission (`compute:last-emission`)",
    corpus=_wall,
    long_name="RTF",
    shown=Shown(summary=True, card="computation per second of audio"),
)
CPU_RTF = Metric(
    name="CpuRTF",
    unit="",
    kind="run",
    definition="seconds of the processor's time per second of audio, whatever else ran",
    corpus=_processor,
    shown=Shown(column="CPU RTF"),
)
POSITIONS_PER_TOKEN = Metric(
    name="PositionsPerToken",
    unit="",
    kind="run",
    definition="what the decoder of a speech LLM has processed (speech vectors, marks, tokens, each time anew) per "
    "committed token, where the log records both",
    corpus=_positions,
    shown=Shown(column="positions per token"),
)
