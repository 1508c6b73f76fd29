"""The valid inputs that hostile ones are made from: small files of every kind that a user hands to a command."""

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from simulst.testing.toy import toy_audio, toy_text

WORDS = (3, 14, 15)


@dataclass(frozen=True, kw_only=True)
class Seed:
    """Files of one folder and a command, run in it, that accepts them as they are; stdin holds the first target."""

    name: str
    command: tuple[str, ...]
    files: Mapping[str, bytes] = field(repr=False)
    targets: tuple[str, ...]
    """Files that may be made hostile."""


def seeds_of(kind: str) -> list[Seed]:
    """All seeds of a kind: "audio", "log", "yaml", "manifest", "preset" or "model"."""
    return KINDS[kind]()


def _audio() -> list[Seed]:
    made = {f"speech{suffix}": _sndfile(*how) for suffix, how in _SNDFILE.items()}
    made |= {f"speech{suffix}": _container(*how) for suffix, how in _CONTAINERS.items()}
    seeds = [
        Seed(name=name, command=("translate", name, *_TOY), files={name: data}, targets=(name,))
        for name, data in made.items()
    ]
    piped = ("speech.wav", "speech.flac", "speech.mp3", "speech.ogg", "speech.webm")
    return seeds + [
        Seed(name=f"{name} on stdin", command=("translate", "-", *_TOY), files={name: made[name]}, targets=(name,))
        for name in piped
    ]


_TOY = ("--model", "toy")
_SNDFILE = {
    ".wav": ("WAV", "PCM_16"),
    ".u8.wav": ("WAV", "PCM_U8"),
    ".f32.wav": ("WAV", "FLOAT"),
    ".ulaw.wav": ("WAV", "ULAW"),
    ".adpcm.wav": ("WAV", "IMA_ADPCM"),
    ".x.wav": ("WAVEX", "PCM_24"),
    ".rf64": ("RF64", "PCM_16"),
    ".w64": ("W64", "PCM_16"),
    ".aiff": ("AIFF", "PCM_16"),
    ".au": ("AU", "PCM_16"),
    ".caf": ("CAF", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
_CONTAINERS = {
    ".m4a": ("mp4", "aac"),
    ".mkv": ("matroska", "flac"),
    ".webm": ("webm", "libopus"),
    ".aac": ("adts", "aac"),
    ".ts": ("mpegts", "aac"),
    ".avi": ("avi", "pcm_s16le"),
    ".flv": ("flv", "aac"),
}


def _sndfile(form: str, subtype: str) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, toy_audio(WORDS), 16_000, format=form, subtype=subtype)
    return file.getvalue()


def _container(form: str, codec: str) -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=48_000 if codec == "libopus" else 16_000)
        stream.codec_context.layout = "mono"
        samples = (32_767 * np.clip(toy_audio(WORDS), -1, 1)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def _log_lines() -> bytes:
    lines = []
    for index in range(3):
        units = toy_text(WORDS[: index + 1]).split()
        lines.append(
            {
                "index": index,
                "prediction": " ".join(units),
                "delays": [640.0 * (n + 1) for n in range(len(units))],
                "elapsed": [640.0 * (n + 1) + 30.5 * n for n in range(len(units))],
                "prediction_length": len(units),
                "reference": toy_text(WORDS[: index + 1]),
                "source": [f"talk_{index}.wav"],
                "source_length": 960.0,
                "chunks": [[640.0, 12.5], [960.0, 3.25]],
                "erased_units": 0,
            }
        )
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _simulstream() -> bytes:
    words = ["▁w3", "▁v4", "▁w5"]
    lines: list[dict[str, object]] = [{"model_loading_time": 1.5}, {"id": 0, "metadata": {"wav_name": "talk_0.wav"}}]
    lines += [
        {
            "id": 0,
            "total_audio_processed": float(n + 1),
            "computation_time": 0.25,
            "generated_tokens": [word],
            "deleted_tokens": [],
        }
        for n, word in enumerate(words)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


_SEGMENTS = b"""\
- {duration: 0.5, offset: 0.1, rW: 0, uW: 0, speaker_id: spk.1, wav: talk_0.wav}
- {duration: 0.3, offset: 0.6, rW: 0, uW: 0, speaker_id: spk.1, wav: talk_0.wav}
"""
_CONFIG = b'detokenizer_type: "simuleval"\nlatency_unit: spm\n'


def _logs() -> list[Seed]:
    files = {"run.log": _log_lines(), "ref.txt": "\n".join(toy_text(WORDS[:n]) for n in (1, 2, 3)).encode() + b"\n"}
    stream = {"run.jsonl": _simulstream(), "config.yaml": _CONFIG, "ref.txt": b"w3 v4\nw5\n", "seg.yaml": _SEGMENTS}
    scored = ("score", "run.jsonl", "--log-config", "config.yaml", "--references", "ref.txt")
    return [
        Seed(name="log", command=("score", "run.log"), files=files, targets=("run.log",)),
        Seed(
            name="log and references",
            command=("score", "run.log", "--references", "ref.txt", "--output", "scores"),
            files=files,
            targets=("run.log", "ref.txt"),
        ),
        Seed(
            name="simulstream",
            command=(*scored, "--segmentation", "seg.yaml"),
            files=stream,
            targets=("run.jsonl", "config.yaml"),
        ),
        Seed(
            name="converted log",
            command=("convert", "run.log", "--to", "omnisteval", "--output", "new.log"),
            files=files,
            targets=("run.log",),
        ),
    ]


def _yaml() -> list[Seed]:
    talk = json.loads(_log_lines().splitlines()[-1]) | {"index": 0, "source": ["talk_0.wav"]}
    files = {
        "run.log": json.dumps(talk).encode() + b"\n",
        "ref.txt": b"w3 v14\nw15\n",
        "seg.yaml": _SEGMENTS,
        "seg.json": json.dumps([{"wav": "talk_0.wav", "offset": 0.1, "duration": 0.8}]).encode(),
    }
    long = ("score", "run.log", "--references", "ref.txt", "--segmentation", "seg.yaml")
    split = {
        "en-de/data/tst/txt/tst.yaml": _SEGMENTS,
        "en-de/data/tst/txt/tst.en": b"one\ntwo\n",
        "en-de/data/tst/txt/tst.de": b"w3 v14\nw15\n",
        "en-de/data/tst/wav/talk_0.wav": _sndfile("WAV", "PCM_16"),
    }
    check, text = ("data", "check", "en-de/data/tst"), "en-de/data/tst/txt/tst.yaml"
    return [
        Seed(name="segments", command=long, files=files, targets=("seg.yaml",)),
        Seed(
            name="converted segments",
            command=("convert", "seg.yaml", "--to", "documents", "--references", "ref.txt", "--output", "new.list"),
            files=files,
            targets=("seg.yaml", "ref.txt"),
        ),
        Seed(name="MuST-C", command=check, files=split, targets=(text,)),
        Seed(name="MuST-C talks", command=(*check, "--long", "--json"), files=split, targets=(text,)),
    ]


def _manifests() -> list[Seed]:
    wav = _sndfile("WAV", "PCM_16")
    lines = [
        {"audio": "a.wav", "offset": 0.1, "duration": 0.5, "text": "one", "reference": "w3 v14"},
        {"audio": "b.wav", "reference": "w15"},
    ]
    manifest = {"set.jsonl": "".join(json.dumps(line) + "\n" for line in lines).encode(), "a.wav": wav, "b.wav": wav}
    lists = {"source.txt": b"a.wav\nb.wav\n", "target.txt": b"w3 v14\nw15\n", "a.wav": wav, "b.wav": wav}
    return [
        Seed(name="manifest", command=("data", "check", "set.jsonl"), files=manifest, targets=("set.jsonl",)),
        Seed(
            name="manifest, decoded",
            command=("data", "check", "set.jsonl", "--deep", "--json"),
            files=manifest,
            targets=("set.jsonl", "a.wav"),
        ),
        Seed(
            name="lists of a manifest",
            command=("data", "lists", "set.jsonl", "--output", "new"),
            files=manifest,
            targets=("set.jsonl",),
        ),
        Seed(name="lists", command=("data", "check", "."), files=lists, targets=("source.txt", "target.txt")),
    ]


def _presets() -> list[Seed]:
    from simulst.policies import POLICIES, load_policy
    from simulst.policies.loading import preset_path
    from simulst.testing import ToyTranslator

    seeds, given = [], ToyTranslator().provides
    for name in POLICIES:
        path = preset_path(name)
        if path is None or not load_policy(name).policy.needs() <= given:
            continue
        text = path.read_bytes()
        files = {
            "my.toml": text if b"[history]" in text else text + b'\n[history]\nmethod = "keep_all"\n',
            "a.wav": _sndfile("WAV", "FLOAT"),
        }
        seeds.append(
            Seed(
                name=f"preset {name}",
                command=("translate", "a.wav", *_TOY, "--policy", "my.toml"),
                files=files,
                targets=("my.toml",),
            )
        )
    return seeds


def _models() -> list[Seed]:
    from simulst.testing.speech_llm import make_tiny_speech_llm

    with tempfile.TemporaryDirectory() as folder:
        model = make_tiny_speech_llm(Path(folder) / "model")
        files = {f"model/{path.name}": path.read_bytes() for path in sorted(model.iterdir())}
    whisper = {"model_type": "whisper", "vocab_size": 51_865, "d_model": 64, "num_mel_bins": 80}
    described = {"model/config.json": json.dumps(whisper).encode(), "model/model.safetensors": b""}
    files["a.wav"] = described["a.wav"] = _sndfile("WAV", "PCM_16")
    run = ("translate", "a.wav", "--model", "model")
    return [
        Seed(name="model", command=run, files=files, targets=tuple(name for name in files if name != "a.wav")),
        Seed(name="described model", command=("models", "model"), files=files, targets=("model/simulst.json",)),
        Seed(name="config", command=("models", "model", "--json"), files=described, targets=("model/config.json",)),
    ]


KINDS: dict[str, Callable[[], list[Seed]]] = {
    "audio": _audio,
    "log": _logs,
    "yaml": _yaml,
    "manifest": _manifests,
    "preset": _presets,
    "model": _models,
}
