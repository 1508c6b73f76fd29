"""The block-causal encoder of a speech LLM in the place of the one that it was taught to imitate: every block of a
stream is encoded once, and once more when audio before it is forgotten.

Jeffries et al. 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands", is the decoder that it
was made for.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from simulst.core.source import SAMPLE_RATE, FloatArray, finite_samples
from simulst.errors import ModelError
from simulst.models.seq2seq.session import Seq2SeqSession
from simulst.models.seq2seq.weights import Seq2SeqWeights
from simulst.models.seq2seq.windows import EncodedWindow, Features, JointWindow

if TYPE_CHECKING:
    from transformers import DynamicCache

    from simulst.models.speech_llm.encoder import BlockCausalEncoder

MIN_FRAMES, MIN_BLOCKS = 8, 2
"""Trained on clips of 4 s and more, the decoder says one word over and over of less than two blocks (1.3 s) of a stream
that goes on, and invents words of less than 0.2 s of one that is over."""
SPARE_TOKENS = 4
"""What may be written beyond the tokens of fast speech."""


class BlockWindow(JointWindow):
    """The encoder as other windows are: a clip of any length at once, as its blocks would be one after the other."""

    def __init__(self, frames: "BlockCausalEncoder", *, max_s: float) -> None:
        self.frames = frames
        self.frame_samples = frames.config.frame_samples
        self.min_samples = MIN_FRAMES * self.frame_samples
        self.max_frames = int(max_s * SAMPLE_RATE) // self.frame_samples
        self.max_samples = self.max_frames * self.frame_samples

    def features(self, samples: FloatArray) -> Features:
        """The samples themselves, [1, samples]."""
        audio = torch.from_numpy(np.array(samples[-self.max_samples :], dtype=np.float32))[None]
        return Features(values=audio.to(self.frames.conv1.weight), samples=audio.shape[1])

    def alone(self, one: Features) -> Tensor:
        return self.frames.full(one.values)


def encoder_of(name: str, *, width: int, int8: bool, like: Tensor) -> "BlockCausalEncoder":
    """The encoder of a speech LLM, `tiny-en-de` or a folder, ready to hear in the precision and place of `like`.

    Raises ModelError where it is not block-causal or its frames are not `width` numbers, which a decoder takes.
    """
    from simulst.models.speech_llm.arithmetic import Arithmetic
    from simulst.models.speech_llm.encoder import BlockCausalConfig, BlockCausalEncoder
    from simulst.models.speech_llm.network import read_config
    from simulst.models.stored import load_tensors

    folder = Path(name).expanduser()
    if not folder.is_dir() and Path(name).name == name:
        folder = Path(__file__).parents[1] / name
    config = read_config(folder).encoder
    if not isinstance(config, BlockCausalConfig):
        raise ModelError(
            f"The encoder of {folder} is not block-causal; name a speech LLM that was made with Moonshine."
        )
    if config.model_dim != width:
        raise ModelError(f"{name} gives frames of {config.model_dim} numbers, and the decoder takes {width}.")
    encoder = BlockCausalEncoder(config)
    try:
        encoder.load_state_dict(load_tensors(folder / "model.safetensors", within="encoder."))
    except RuntimeError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ModelError(f"{folder}/model.safetensors does not fit simulst.json: {reason}.") from error
    encoder = encoder.to(like).eval().requires_grad_(False)
    Arithmetic.chosen("auto", int8=int8, like=like).applied_to_encoder(encoder, config.pass_frames)
    return encoder


class BlockWeights(Seq2SeqWeights):
    """Weights of an encoder-decoder that hears in blocks."""

    encoder: BlockWindow


class BlockSession(Seq2SeqSession):
    """A stream whose frames come block by block and are computed once, until audio is forgotten.

    The decoder can begin only where a clip begins: given frames that were cut out of a stream it does not find the end
    and says all again. What is kept is therefore heard anew, as a clip that begins with silence.
    """

    translator: BlockWeights

    def __init__(self, translator: BlockWeights) -> None:
        super().__init__(translator)
        self._frame_samples = translator.encoder.frame_samples
        encoder = translator.encoder.frames
        self._stream, self._frames = encoder.open(), encoder.nothing()
        self._cross: DynamicCache | None = None
        """Keys and values that the decoder has of the frames; of new ones they are computed alone."""
        self._audio = encoder.conv1.weight.new_zeros(0)
        self._first, self._received, self._silent, self._ended = 0, 0, 0, False

    @property
    def start_s(self) -> float:
        return self._first * self.translator.frame_s

    @property
    def heard_s(self) -> float:
        return min(self.source_end * self.translator.frame_s, self._received / SAMPLE_RATE)

    @property
    def source_end(self) -> int:
        return self._first + len(self._frames)

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        """Encode the blocks that became complete; beyond the longest window the oldest ones are forgotten."""
        samples = finite_samples(samples)
        self._received += len(samples)
        self._ended = is_final
        audio = torch.from_numpy(samples.copy()).to(self._audio)
        self._audio = torch.cat((self._audio, audio))
        self._hear(audio)
        surplus = len(self._frames) - self.translator.encoder.max_frames
        if surplus > 0:
            block = self.translator.encoder.frames.config.block_frames
            self._begin((self._first + -(-surplus // block) * block) * self._frame_samples)

    def _hear(self, audio: Tensor) -> None:
        with torch.inference_mode():
            heard = self.translator.encoder.frames.step(audio, self._stream, is_final=self._ended)
            if len(heard):
                self._frames, self._window = torch.cat((self._frames, heard)), None

    def drop_source(self, to_s: float) -> None:
        """Forget audio before `to_s`: whole blocks of it, and the rest of it is silence from now on."""
        to_sample = min(int(to_s * SAMPLE_RATE + 1e-3), self.source_end * self._frame_samples)
        if to_sample > self._silent:
            self._begin(to_sample)

    def restart(self) -> None:
        self._ended = False
        self._begin(self._received)

    def _begin(self, to_sample: int) -> None:
        """Hear what is kept anew; the borders of its blocks stay where they were."""
        encoder = self.translator.encoder.frames
        block = encoder.config.block_frames
        count = (to_sample // self._frame_samples - self._first) // block * block
        self._audio = self._audio[count * self._frame_samples :].clone()
        self._first += count
        self._audio[: to_sample - self._first * self._frame_samples] = 0
        self._stream, self._frames = encoder.open(), encoder.nothing()
        self._window = self._cross = None
        self._silent = to_sample
        self._hear(self._audio)

    def _cap(self, max_new: int | None, prefix: int) -> int:
        """As many tokens as fast speech has: where the decoder does not find the end it would go on for ever."""
        if max_new is not None:
            return max_new
        kept_s = len(self._frames) * self.translator.frame_s
        return max(0, int(self.translator.tokens_per_second * kept_s) + SPARE_TOKENS - prefix)

    def _encoded(self, prefix: tuple[int, ...] = ()) -> EncodedWindow | None:
        """The kept frames, whose keys and values the decoder computes once per change; None where there are too few."""
        fewest = MIN_FRAMES if self._ended else MIN_BLOCKS * self.translator.encoder.frames.config.block_frames
        if self._window is None and len(self._frames) >= fewest:
            self._window = EncodedWindow(
                states=self._frames[None], n_valid=len(self._frames), cross_cache=self._keys_and_values()
            )
        return self._window

    def _keys_and_values(self) -> "DynamicCache":
        """Those of all frames, for every layer of the decoder."""
        from transformers import DynamicCache

        if self._cross is None:
            self._cross = DynamicCache()
        with torch.inference_mode():
            new = self._frames[None, self._cross.get_seq_length() :]
            for number, layer in enumerate(self.translator.decoder.layers):
                attention = layer.get_submodule(self.translator.cross_attention)
                both = (attention.k_proj(new), attention.v_proj(new))
                keys, values = (one.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2) for one in both)
                self._cross.update(keys, values, number)
        return self._cross
