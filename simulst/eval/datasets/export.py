"""Any test set as SimulEval's lists."""

from pathlib import Path

import numpy as np
import soundfile

from simulst.audio import SAMPLE_RATE
from simulst.errors import DataError
from simulst.eval.datasets.item import Dataset


def write_lists(dataset: Dataset, output: Path) -> int:
    """Write source.txt, target.txt and, for stretches of recordings, wav/NNNN.wav (16 kHz); how many were cut.

    16-bit sources stay what they are, sample by sample.
    """
    if any(item.reference is None for item in dataset.items):
        raise DataError(f"{dataset.path} has items without reference; SimulEval needs a target for every source.")
    output.mkdir(parents=True, exist_ok=True)
    sources, cut = [], 0
    for item in dataset.items:
        if not item.offset_s and item.duration_s is None:
            sources.append(str(item.audio.resolve()))
            continue
        path = output / "wav" / f"{item.index:05d}.wav"
        path.parent.mkdir(exist_ok=True)
        samples = np.concatenate(list(item.open()))
        integers = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
        soundfile.write(path, integers, SAMPLE_RATE, subtype="PCM_16")
        sources.append(str(path.resolve()))
        cut += 1
    references = [" ".join((item.reference or "").split("\n")).strip() for item in dataset.items]
    (output / "source.txt").write_text("".join(f"{line}\n" for line in sources), encoding="utf-8")
    (output / "target.txt").write_text("".join(f"{line}\n" for line in references), encoding="utf-8")
    return cut
