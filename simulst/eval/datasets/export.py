"""Any test set as SimulEval's lists."""

import io
from pathlib import Path

import numpy as np
import soundfile

from simulst.audio import SAMPLE_RATE
from simulst.errors import DataError
from simulst.eval.datasets.item import Dataset
from simulst.outputs import whole_file, write_whole


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
        wav = io.BytesIO()
        soundfile.write(wav, integers, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        with whole_file(path) as scratch:
            scratch.write_bytes(wav.getvalue())
        sources.append(str(path.resolve()))
        cut += 1
    references = [" ".join((item.reference or "").split("\n")).strip() for item in dataset.items]
    write_whole(output / "source.txt", "".join(f"{line}\n" for line in sources))
    write_whole(output / "target.txt", "".join(f"{line}\n" for line in references))
    return cut
