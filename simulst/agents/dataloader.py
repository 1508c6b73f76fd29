"""A SimulEval data loader that reads audio when it is sent: an hour costs megabytes, not gigabytes.

`simuleval --dataloader lazy --dataloader-class simulst.agents.LazySpeech ...` with any speech-to-text agent that takes
arrays, as simulst's do. Recordings of any format and rate arrive at 16 kHz mono.
"""

from argparse import Namespace
from pathlib import Path
from typing import Self

import numpy as np
import soundfile

from simulst.agents.harness import SpeechToTextDataloader
from simulst.agents.settings import one_sentence
from simulst.audio import SAMPLE_RATE, read_audio
from simulst.audio.samples import FloatArray
from simulst.errors import AudioError
from simulst.eval.data import read_lists
from simulst.eval.data.segmentation import read_lines


class AudioSlices:
    """A recording as SimulEval indexes a list of samples; a slice, float32 at 16 kHz mono, is read when it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: soundfile.SoundFile | None = None
        self._whole: FloatArray | None = None

    def __len__(self) -> int:
        file = self._open()
        return len(self._decoded()) if file is None else int(file.frames)

    def __getitem__(self, key: slice) -> FloatArray:
        file = self._open()
        if file is None:
            return self._decoded()[key]
        start, stop, _ = key.indices(len(self))
        if file.tell() != start:
            file.seek(start)
        frames = file.read(max(0, stop - start), dtype="float32", always_2d=True)
        if stop >= len(self):
            self.close()
        mono: FloatArray = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)
        return mono

    def _open(self) -> soundfile.SoundFile | None:
        """The open file, None where samples cannot be read in place."""
        if self._whole is None and self._file is None:
            try:
                self._file = soundfile.SoundFile(self._path)
            except (soundfile.LibsndfileError, OSError):
                return None
        if self._file is not None and self._file.samplerate != SAMPLE_RATE:
            self.close()
            return None
        return self._file

    def _decoded(self) -> FloatArray:
        if self._whole is None:
            self._whole = read_audio(self._path)
        return self._whole

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class AudioInfo:
    """What SimulEval asks about a recording; it prints as soundfile's information does."""

    samplerate = SAMPLE_RATE

    def __init__(self, path: Path) -> None:
        try:
            self._text = str(soundfile.info(str(path)))
        except (soundfile.LibsndfileError, OSError):
            self._text = str(path)

    def __str__(self) -> str:
        return self._text


class LazySpeech(SpeechToTextDataloader):
    """SimulEval's lists with audio that is read as it is sent; every recording is looked for before the run begins."""

    def __init__(self, source_list: list[str], target_list: list[str], tgt_lang_list: list[str] | None = None) -> None:
        super().__init__(source_list, target_list, tgt_lang_list)
        self._slices: tuple[int, AudioSlices] = (-1, AudioSlices(Path()))

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        args.source_type, args.target_type = "speech", "text"
        with one_sentence():
            if not args.source or not args.target:
                raise AudioError("SimulEval's speech-to-text needs --source LIST and --target TEXT.")
            dataset, _ = read_lists(Path(args.source), Path(args.target)).usable(skip_bad=False)
            tags = [line.strip() for line in read_lines(args.tgt_lang)] if args.tgt_lang else []
        return cls([str(item.audio) for item in dataset.items], [item.reference or "" for item in dataset.items], tags)

    def get_source(self, index: int) -> AudioSlices:
        """One object per recording: SimulEval asks for it three times."""
        if self._slices[0] != index:
            self._slices = (index, AudioSlices(Path(self.source_list[index])))
        return self._slices[1]

    def get_source_audio_info(self, index: int) -> AudioInfo:
        return AudioInfo(Path(self.source_list[index]))
