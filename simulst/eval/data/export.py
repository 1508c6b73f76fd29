"""Any test set as SimulEval's lists."""

from pathlib import Path

import numpy as np
import soundfile

from simulst.audio import SAMPLE_RATE
from simulst.errors import DataError
from simulst.eval.data.item import Dataset, Item
from simulst.outputs import OutputError, refuse_inputs, whole_file, write_texts


def write_lists(dataset: Dataset, output: Path) -> int:
    """Write source.txt, target.txt and, for stretches of recordings, wav/NNNN.wav (16 kHz); how many were cut.

    16-bit sources stay what they are, sample by sample.
    """
    if any(item.reference is None for item in dataset.items):
        raise DataError(f"{dataset.path} has items without reference; SimulEval needs a target for every source.")
    cuts = {item.index: output / "wav" / f"{item.index:05d}.wav" for item in dataset.items if _is_stretch(item)}
    lists = (output / "source.txt", output / "target.txt")
    if output.exists() and dataset.path.exists() and output.samefile(dataset.path):
        raise DataError(f"{output} is the test set itself; choose another --output.")
    read = {item.audio for item in dataset.items}
    refuse_inputs([*lists, *cuts.values()], [dataset.path, *read])
    output.mkdir(parents=True, exist_ok=True)
    for item in dataset.items:
        if item.index in cuts:
            _cut(item, cuts[item.index])
    sources = [str(cuts.get(item.index, item.audio).resolve()) for item in dataset.items]
    references = [" ".join((item.reference or "").split("\n")).strip() for item in dataset.items]
    texts = ["".join(f"{line}\n" for line in lines) for lines in (sources, references)]
    write_texts(dict(zip(lists, texts, strict=True)))
    return len(cuts)


def _is_stretch(item: Item) -> bool:
    return bool(item.offset_s) or item.duration_s is not None


def _cut(item: Item, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    samples = np.concatenate(list(item.open()))
    integers = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
    with whole_file(path) as file:
        try:
            soundfile.write(file, integers, SAMPLE_RATE, subtype="PCM_16", format="WAV")
        except soundfile.LibsndfileError as error:  # which does not tell a full disk from others
            raise OutputError(
                f"{path} cannot be written: {error.error_string.removeprefix('Error : ').rstrip('.').lower()}."
            ) from None
