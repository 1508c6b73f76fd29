"""Latency of every segment and of the corpus under a profile; names get the profile's prefix and the clock's suffix."""

from collections.abc import Sequence
from statistics import fmean

from simulst.eval.logs.instances import Instance
from simulst.eval.metrics import latency
from simulst.eval.score.profiles import Profile
from simulst.eval.segment.align import CLOCKS, ScoredSegment

Row = dict[str, float | None]


def segment_latency(segment: ScoredSegment, profile: Profile) -> Row:
    """Every metric of the profile on one segment; None where it is undefined (no unit, or a source of no length)."""
    row: Row = {}
    for clock in CLOCKS:
        if clock in segment.times:
            row |= {name + clock: value for name, value in _metrics(segment, profile, clock).items()}
    return row


def corpus_latency(rows: Sequence[Row]) -> dict[str, float]:
    """Plain mean over the segments where a metric is defined, of any length and talk; absent if there is none."""
    means = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [value for row in rows if (value := row.get(name)) is not None]
        if values:
            means[name] = fmean(values)
    return means


def degeneracy(segments: Sequence[ScoredSegment], rows: Sequence[Row]) -> dict[str, float]:
    """OmniSTEval's short-form test for systems that speak only at the end, in percent; absent if undefined.

    SWF: units emitted before their segment's end. EFSW: the share of the source that is left after YAAL.
    DSPTV = EFSW - SWF; more than 20 either way is suspicious.
    """
    timed = [(s, row) for s, row in zip(segments, rows, strict=True) if s.times.get("") and s.source_length_ms]
    units = sum(len(s.units) for s, _ in timed)
    before = sum(time < (s.source_length_ms or 0.0) for s, _ in timed for time in s.times[""])
    lags = [(s.source_length_ms or 0.0, lag) for s, row in timed if (lag := row.get("YAAL")) is not None]
    if not units or not lags:
        return {}
    swf = 100.0 * before / units
    efsw = 100.0 * sum(max(0.0, length - lag) for length, lag in lags) / sum(length for length, _ in lags)
    return {"SWF": swf, "EFSW": efsw, "DSPTV": efsw - swf}


def run_ratios(instances: Sequence[Instance], unit_count: int, profile: Profile) -> dict[str, float]:
    """Normalised erasure, computation per second of audio and decoder entries per token, as far as the log knows them.

    CpuRTF counts the time of the processor, which does not depend on what else runs, over the audio of whole streams.
    Computation is RTF in long form and ComputeRTF in short form, where SimulEval calls d_n / source length RTF.
    """
    ratios: dict[str, float] = {}
    erased = [instance.erased_units for instance in instances]
    if unit_count and any(count is not None for count in erased):
        ratios["NE"] = sum(count or 0 for count in erased) / unit_count
    known = [pair for instance in instances if (pair := computation_and_audio_ms(instance)) is not None]
    if (audio := sum(pair[1] for pair in known)) > 0:
        ratios["RTF" if profile.prefix else "ComputeRTF"] = sum(pair[0] for pair in known) / audio
    timed = [i for i in instances if isinstance(i.extra.get("cpu_s"), float) and i.source_length_ms]
    if timed:
        ratios["CpuRTF"] = 1000 * sum(i.extra["cpu_s"] for i in timed) / sum(i.source_length_ms or 0.0 for i in timed)
    if tokens := sum(_count(instance, "tokens") for instance in instances):
        if processed := sum(_count(instance, "decoder_positions") for instance in instances):
            ratios["PositionsPerToken"] = processed / tokens
    return ratios


def _count(instance: Instance, key: str) -> int:
    value = instance.extra.get(key)
    return value if isinstance(value, int) else 0


def computation_and_audio_ms(instance: Instance) -> tuple[float, float] | None:
    """Computation and audio of one stream, None if unknown; elapsed times tell it up to the last emission."""
    if instance.chunks:
        return sum(compute for _, compute in instance.chunks), instance.chunks[-1][0]
    if instance.source_length_ms is None or not instance.cumulative or not instance.elapsed_ms:
        return None
    return instance.elapsed_ms[-1] - instance.delays_ms[-1], instance.source_length_ms


def _metrics(segment: ScoredSegment, profile: Profile, clock: str) -> Row:
    times, source = segment.times[clock], segment.source_length_ms
    usable = bool(times) and source is not None and source > 0
    row: Row = {}
    for name in _names(profile):
        row[name] = _metric(name.removeprefix(profile.prefix), segment, clock) if usable else None
    if usable and profile.prefix == "" and source is not None:
        row |= {"RTF": times[-1] / source, "NumChunks": float(len(times))}
    return row


def _names(profile: Profile) -> list[str]:
    metrics = ["AL", "LAAL", "AP", "DAL"]
    if profile.prefix == "" or profile.clamp:  # early units make ATD's chunks negative
        metrics.append("ATD")
    if profile.prefix != "Stream":
        metrics.insert(0, "YAAL")
    return [profile.prefix + metric for metric in metrics] + ["StartOffset", "EndOffset"]


def _metric(name: str, segment: ScoredSegment, clock: str) -> float | None:
    times, source, target = segment.times[clock], segment.source_length_ms or 0.0, segment.target_length
    match name:
        case "AL":
            return latency.average_lagging(times, source, target)
        case "LAAL":
            return latency.length_adaptive_average_lagging(times, source, target)
        case "AP":
            return latency.average_proportion(times, source, target)
        case "DAL":
            return latency.differentiable_average_lagging(times, source)
        case "YAAL":
            limit = source if segment.limit_ms is None else segment.limit_ms
            return latency.yaal(times, source, target, limit=limit)
        case "ATD":
            return latency.average_token_delay(segment.times[""], times if clock else None)
        case "StartOffset":
            return times[0]
        case "EndOffset":
            return times[-1] - source
    raise AssertionError(name)
