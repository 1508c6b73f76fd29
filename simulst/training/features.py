"""Speech vectors of synthetic talks, computed once by the streaming encoder and kept on disk for decoder training.

Clips of one voice are joined to talks of up to half a minute with pauses; a third stays single. Of every talk the
vectors and the place of every sentence are stored, so training can later take any run of sentences, as history
trimming does while a talk is translated.
"""

import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from simulst.audio.samples import SAMPLE_RATE
from simulst.models.speech_llm.streaming_encoder import StreamingEncoder
from simulst.training.computing import ON_CPU, Computing
from simulst.training.speech import SpeechStore, augment, by_length, filled_up


@dataclass(frozen=True, kw_only=True)
class Talk:
    """One line of `talks.jsonl`: vectors [first, first + count) and (sentence, start, end) in vectors from `first`."""

    first: int
    count: int
    voice: str
    sentences: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    single_share: float = 0.3
    max_talk_s: float = 28.0
    batch_s: float = 120.0
    augmented: bool = True
    seed: int = 0


def _pause_s(rng: random.Random) -> float:
    return rng.uniform(1.0, 3.0) if rng.random() < 0.06 else rng.uniform(0.15, 0.9)


def compose(store: SpeechStore, config: FeatureConfig) -> list[tuple[int, ...]]:
    """Every clip once, in singles and in groups of one voice that fit into a talk; order is random but fixed."""
    rng = random.Random(config.seed)
    groups: list[tuple[int, ...]] = []
    for _, numbers in sorted(store.by_voice.items()):
        numbers = list(numbers)
        rng.shuffle(numbers)
        while numbers:
            if rng.random() < config.single_share * 2.2:
                groups.append((numbers.pop(),))
                continue
            group, total = [], 0.0
            wanted = rng.uniform(6.0, config.max_talk_s)
            while numbers and total < wanted:
                group.append(numbers.pop())
                total += store.clips[group[-1]].samples / SAMPLE_RATE + 0.6
            groups.append(tuple(group))
    rng.shuffle(groups)
    return groups


def _talk_audio(
    store: SpeechStore, group: tuple[int, ...], rng: random.Random, vector_samples: int, augmented: bool
) -> tuple[npt.NDArray[np.float32], list[tuple[int, float, float]]]:
    pieces = [np.zeros(int(rng.uniform(0.0, 0.5) * SAMPLE_RATE), np.float32)]
    at, sentences = len(pieces[0]), list[tuple[int, float, float]]()
    for number in group:
        if sentences:
            pieces.append(np.zeros(int(_pause_s(rng) * SAMPLE_RATE), np.float32))
            at += len(pieces[-1])
        audio = store.audio(number)
        sentences.append((store.clips[number].sentence, at / vector_samples, (at + len(audio)) / vector_samples))
        pieces.append(audio)
        at += len(audio)
    pieces.append(np.zeros(int(rng.uniform(0.0, 0.8) * SAMPLE_RATE), np.float32))
    audio = np.concatenate(pieces)
    return augment(audio, rng) if augmented else audio, sentences


def extract(
    encoder: StreamingEncoder,
    store: SpeechStore,
    folder: Path,
    config: FeatureConfig,
    computing: Computing = ON_CPU,
) -> None:
    """Append vectors of all talks not done yet to `vectors.bf16` and lines to `talks.jsonl`; resumable."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.to(computing.device)
    vectors, index = folder / "vectors.bf16", folder / "talks.jsonl"
    done = read_talks(folder)
    groups = compose(store, config)
    skip, width = len(done), encoder.config.frame_multiple * encoder.config.model_dim
    total = sum(talk.count for talk in done)
    vectors.touch()
    vector_samples = encoder.config.frame_samples * encoder.config.frame_multiple
    began, seconds = time.monotonic(), 0.0
    with vectors.open("r+b") as out, index.open("a") as lines, torch.inference_mode():
        out.truncate(total * width * 2)
        out.seek(0, 2)
        at = skip
        while at < len(groups):
            window = groups[at : at + 64]
            talks = [
                (*_talk_audio(store, g, random.Random(f"{config.seed}/{at + i}"), vector_samples, config.augmented), g)
                for i, g in enumerate(window)
            ]
            at += len(window)
            results: dict[int, npt.NDArray[np.uint16]] = {}
            for batch in by_length([audio for audio, _, _ in talks], config.batch_s):
                results |= _encode(encoder, [talks[i][0] for i in batch], batch, computing)
                seconds += sum(len(talks[i][0]) for i in batch) / SAMPLE_RATE
            for i, (_, sentences, group) in enumerate(talks):
                out.write(results[i].tobytes())
                voice = store.clips[group[0]].voice
                talk = Talk(first=total, count=len(results[i]), voice=voice, sentences=tuple(sentences))
                lines.write(json.dumps(asdict(talk)) + "\n")
                total += len(results[i])
            out.flush()
            lines.flush()
            spent = time.monotonic() - began
            left = (len(groups) - at) * spent / (at - skip) / 60
            print(f"{at}/{len(groups)} talks, {seconds / spent:.0f} audio s/s, {left:.0f} min left", flush=True)


def _encode(
    encoder: StreamingEncoder,
    audio: list[npt.NDArray[np.float32]],
    names: list[int],
    computing: Computing,
) -> dict[int, npt.NDArray[np.uint16]]:
    """Encode clips of different length in one batch: causality makes zero padding at the end harmless but for the
    look-ahead of the last blocks, which hears silence instead of nothing."""
    stack, batch = encoder.config.frame_multiple, torch.from_numpy(filled_up(audio))
    with computing.autocast():
        frames = encoder.full(batch.to(computing.device))
    stacked = frames.reshape(len(frames), -1, stack * frames.shape[2]).to(torch.bfloat16).cpu()
    counts = [-(-len(a) // (encoder.config.frame_samples * stack)) for a in audio]
    return {
        name: stacked[row, :count].contiguous().view(torch.uint16).numpy()
        for row, (name, count) in enumerate(zip(names, counts, strict=True))
    }


def read_talks(folder: Path) -> list[Talk]:
    """All finished talks of a feature folder; a torn last line is ignored."""
    path = folder / "talks.jsonl"
    talks = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            values = json.loads(line)
        except ValueError:
            break
        values["sentences"] = tuple(tuple(s) for s in values["sentences"])
        talks.append(Talk(**values))
    return talks
