"""Segments of recordings as OmniSTEval writes them: one line each, times relative to the segment."""

import json
import os
from collections.abc import Sequence

from simulst.eval.segment.align import ScoredSegment
from simulst.outputs import write_text


def write_resegmented(path: str | os.PathLike[str], segments: Sequence[ScoredSegment]) -> None:
    """OmniSTEval's instances.resegmented.jsonl."""
    documents = list(dict.fromkeys(segment.wav for segment in segments))
    seen: dict[str, int] = {}
    lines = []
    for segment in segments:
        number = seen[segment.wav] = seen.get(segment.wav, -1) + 1
        record: dict[str, object] = {
            "index": segment.index,
            "docid": documents.index(segment.wav),
            "segid": number,
            "prediction": segment.prediction,
            "reference": segment.reference,
            "source_length": segment.source_length_ms,
        }
        if segment.units:
            for key, clock in (("emission_cu", ""), ("emission_ca", "_CA")):
                if clock in segment.times:
                    record[key] = list(segment.times[clock])
            if segment.limit_ms is not None:
                record["time_to_recording_end"] = segment.limit_ms
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))
