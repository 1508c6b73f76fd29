"""Moonshine's decoder on the block-causal encoder of tiny-en-de: `--model tiny-en`, which comes with simulst, and
`--model moonshine-tiny --set encoder=tiny-en-de`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from simulst import Session, load_model, load_policy
from simulst.audio import open_file
from simulst.bundled import talk
from simulst.cli import run
from simulst.core.source import FloatArray
from simulst.core.translator import Evidence, Query
from simulst.errors import AudioError
from simulst.models.int8 import Int8Conv1d, Int8Linear
from simulst.models.seq2seq.decoder_run import DecoderRun
from simulst.models.seq2seq.moonshine import BlockMoonshine, BlockMoonshineSession
from simulst.models.seq2seq.windows import EncodedWindow
from simulst.testing.checkpoints import tiny_moonshine

pytestmark = pytest.mark.slow

WEIGHTS = Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser() / "moonshine-tiny"
CLIP = Path(__file__).parents[1] / "data" / "two_sentences_en.ogg"
BLOCK = 28
SAID = "Good morning, everyone. I am very happy to see you here today."


def loaded(folder: Path, dtype: str = "float32") -> BlockMoonshine:
    model = load_model(folder, dtype=dtype, encoder="tiny-en-de")
    assert isinstance(model, BlockMoonshine)
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BlockMoonshine:
    """With a decoder of random weights."""
    return loaded(tiny_moonshine(tmp_path_factory.mktemp("moonshine"), width=288))


@pytest.fixture(scope="module")
def real() -> BlockMoonshine:
    """The one that comes with simulst."""
    model = load_model("tiny-en", dtype="int8")
    assert isinstance(model, BlockMoonshine)
    return model


@pytest.fixture(scope="module")
def speech() -> FloatArray:
    """The first two sentences of the talk and the beginning of the third."""
    with open_file(talk()) as stream:
        return np.concatenate([piece for piece, _ in zip(stream, range(100), strict=False)])[: 7 * 16_000]


def heard(model: BlockMoonshine, audio: FloatArray, sizes: list[int]) -> BlockMoonshineSession:
    session, at, turn = model.open(), 0, 0
    while at < len(audio):
        size = sizes[turn % len(sizes)]
        session.extend_source(audio[at : at + size], is_final=at + size >= len(audio))
        at, turn = at + size, turn + 1
    return session


@pytest.mark.parametrize("sizes", [[10_240], [97, 12_001], [112_000]])
def test_frames_are_those_of_the_whole_however_the_audio_was_cut(
    model: BlockMoonshine, speech: FloatArray, sizes: list[int]
) -> None:
    session = heard(model, speech, sizes)
    expected = model.encoder.encode(speech).states[0]
    torch.testing.assert_close(session._frames, expected, atol=2e-4, rtol=0)


def test_two_streams_never_touch(model: BlockMoonshine, speech: FloatArray) -> None:
    one, two = model.open(), model.open()
    for at in range(0, 64_000, 8_000):
        one.extend_source(speech[at : at + 8_000])
        two.extend_source(speech[48_000 + at : 56_000 + at])
        one.hypothesise((), Query(max_new=2))
    alone = model.open()
    for at in range(0, 64_000, 8_000):
        alone.extend_source(speech[at : at + 8_000])
    assert torch.equal(one._frames, alone._frames) and not torch.equal(one._frames, two._frames)


def test_what_is_kept_is_heard_anew_as_a_clip_that_begins_with_silence(
    model: BlockMoonshine, speech: FloatArray
) -> None:
    session = heard(model, speech[:96_000], [10_240])
    end = session.source_end
    session.drop_source(2.4)
    assert session.source_end == end and session.start_s == pytest.approx(3 * BLOCK * 0.024)
    silenced = speech[:96_000].copy()
    silenced[: round(2.4 * 16_000)] = 0
    expected = model.encoder.encode(silenced[3 * BLOCK * 384 :]).states[0]
    torch.testing.assert_close(session._frames, expected[: len(session._frames)], atol=2e-4, rtol=0)
    kept = session._frames
    session.drop_source(1.0)
    assert session._frames is kept


@pytest.mark.real
def test_the_bundled_decoder_says_what_the_published_one_says(real: BlockMoonshine, speech: FloatArray) -> None:
    if not (WEIGHTS / "config.json").is_file():
        pytest.skip(f"{WEIGHTS} is absent")
    published = loaded(WEIGHTS, "int8")
    assert heard(published, speech, [10_240]).transcript() == heard(real, speech, [10_240]).transcript()


def test_words_and_rows_follow_the_audio(real: BlockMoonshine, speech: FloatArray) -> None:
    assert heard(real, speech, [10_240]).transcript().startswith(SAID)
    session = heard(real, speech[:96_000], [10_240])
    found = session.hypothesise((), Query(want=frozenset({Evidence.ALIGNMENT})))[0]
    assert found.alignment is not None
    peaks = found.alignment.weights.argmax(-1)[:-1] * real.frame_s
    assert (np.diff(peaks) > -0.2).all() and peaks[0] < 1.2 and peaks[-1] > 4.0
    session.drop_source(2.4)
    assert session.transcript() == "I am very happy to see you here today."


def test_nothing_is_said_before_there_is_enough(model: BlockMoonshine, speech: FloatArray) -> None:
    session = model.open()
    assert session.hypothesise(())[0].ids == ()
    session.extend_source(speech[:20_000])  # one block and its look-ahead
    assert session.source_end == BLOCK and session.hypothesise(())[0].ids == () and session.transcript() == ""
    session.extend_source(np.zeros(0, dtype=np.float32), is_final=True)
    assert session.hypothesise(())[0].ids != ()
    with pytest.raises(AudioError, match="finite"):
        session.extend_source(np.array([np.nan], dtype=np.float32))


def test_keys_of_new_frames_join_those_of_the_others(model: BlockMoonshine, speech: FloatArray) -> None:
    """As if the decoder had been given all frames at once, before audio is forgotten and after."""
    session, wants = model.open(), Query(max_new=8, want=frozenset({Evidence.ALIGNMENT_HEADS}))
    for at in range(0, 112_000, 10_240):
        session.extend_source(speech[at : at + 10_240])
        if at == 71_680:
            session.drop_source(2.4)
        found = session.hypothesise((), wants)[0]
    fresh = DecoderRun(model, EncodedWindow(states=session._frames[None], n_valid=len(session._frames)), rows=False)
    fresh.start(model.prompt(), found.ids[:1])
    assert session._cross is not None and len(fresh.cross.layers) == len(session._cross.layers) == 2
    for mine, whole in zip(session._cross.layers, fresh.cross.layers, strict=True):
        torch.testing.assert_close(mine.keys, whole.keys, atol=1e-5, rtol=0)
        torch.testing.assert_close(mine.values, whole.values, atol=1e-5, rtol=0)


def test_a_long_stream_keeps_a_bounded_window(model: BlockMoonshine, speech: FloatArray) -> None:
    session = model.open()
    for _ in range(6):
        session.extend_source(speech)
    assert session.source_end * 384 > 40 * 16_000
    assert len(session._frames) <= model.encoder.max_frames and len(session._audio) < 32 * 16_000
    assert session.start_s * 16_000 == pytest.approx(session._first * 384)


def test_the_talk_is_understood_as_a_stream(real: BlockMoonshine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word errors of the whole talk (a voice nobody here trained on): 10.2 % when this was written."""
    monkeypatch.syspath_prepend(str(talk().parent))
    from word_errors import errors, words_of  # type: ignore[import-not-found]

    session = Session(real, load_policy("stream_att-f12"))
    with open_file(talk()) as stream:
        for piece in stream:
            session.feed(piece)
    session.finish()
    said = words_of((talk().parent / "talk.en.txt").read_text())
    assert errors(words_of(session.text), said) / len(said) < 0.2


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_stored_bytes_are_what_int8_computes_with(dtype: str) -> None:
    """What is rounded once stays what it is; the encoder is not there twice."""
    model = load_model("tiny-en", dtype=dtype)
    stored = load_file(Path(sys.modules["simulst"].__file__ or "").parent / "models" / "tiny-en" / "model.safetensors")
    assert not any(name.startswith("model.encoder.") for name in stored)
    name = "layers.3.encoder_attn.k_proj"
    layer = model.decoder.get_submodule(name) if isinstance(model, BlockMoonshine) else None
    kept = stored[f"model.decoder.{name}.weight"].float() * stored[f"model.decoder.{name}.weight.scale"][:, None]
    probe = torch.eye(kept.shape[1])
    assert layer is not None and isinstance(layer, Int8Linear) == (dtype == "int8")
    torch.testing.assert_close(layer(probe), kept.T, atol=1e-6 if dtype == "float32" else 2e-3, rtol=0)


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({"type": "moonshine"}, "simulst.json: encoder is missing"),
        ({"type": "moonshine", "encoder": "tiny-en-de", "ears": 2}, "simulst.json: unknown key 'ears'"),
        ({"type": "moonshine", "encoder": 3}, "encoder"),
    ],
)
def test_a_wrong_description_is_one_sentence(
    description: dict[str, object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "recogniser"
    shutil.copytree(Path(sys.modules["simulst"].__file__ or "").parent / "models" / "tiny-en", folder)
    (folder / "simulst.json").write_text(json.dumps(description))
    assert run(["translate", str(CLIP), "--model", str(folder)]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_a_decoder_that_lacks_something_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "recogniser"
    shutil.copytree(Path(sys.modules["simulst"].__file__ or "").parent / "models" / "tiny-en", folder)
    tensors = load_file(folder / "model.safetensors")
    for gone, sentence in (
        ("model.decoder.norm.weight", "1 tensor is missing, for example model.decoder.norm.weight."),
        ("model.decoder.layers.0.mlp.fc1.weight.scale", "mlp.fc1.weight in whole numbers without a scale"),
    ):
        save_file({name: one for name, one in tensors.items() if name != gone}, folder / "model.safetensors")
        assert run(["translate", str(CLIP), "--model", str(folder)]) == 2
        err = capsys.readouterr().err
        assert sentence in err and err.count("\n") == 1


def test_a_cascade_with_it_translates(tmp_path: Path) -> None:
    moonshine = tiny_moonshine(tmp_path / "moonshine", width=288)
    command = [sys.executable, "-m", "simulst", "translate", str(CLIP), "--model", f"{moonshine}+tiny-en-de"]
    options = ["--policy", "wait_k-3", "--dtype", "int8", "--set", "recogniser.encoder=tiny-en-de"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.strip()


def test_the_encoder_may_lie_in_a_folder(tmp_path: Path, speech: FloatArray, model: BlockMoonshine) -> None:
    moonshine = tiny_moonshine(tmp_path / "moonshine", width=288)
    folder = Path(sys.modules["simulst"].__file__ or "").parent / "models" / "tiny-en-de"
    (tmp_path / "ears").symlink_to(folder)
    other = load_model(moonshine, encoder=str(tmp_path / "ears"))
    assert isinstance(other, BlockMoonshine)
    assert torch.equal(heard(other, speech, [112_000])._frames, heard(model, speech, [112_000])._frames)


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("tiny-en-de", "tiny-en-de gives frames of 288 numbers, and the decoder takes 32.\n"),
        ("no-such-model", "no-such-model/simulst.json cannot be read"),
        ("../elsewhere", "../elsewhere/simulst.json cannot be read"),
    ],
)
def test_a_wrong_encoder_is_one_sentence(
    encoder: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moonshine = tiny_moonshine(tmp_path / "moonshine")
    capsys.readouterr()
    assert run(["translate", str(CLIP), "--model", str(moonshine), "--set", f"encoder={encoder}"]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_weights_that_lack_something_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moonshine = tiny_moonshine(tmp_path / "moonshine", width=288)
    folder = tmp_path / "ears"
    shutil.copytree(Path(sys.modules["simulst"].__file__ or "").parent / "models" / "tiny-en-de", folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.conv1.weight"]
    save_file(tensors, folder / "model.safetensors")
    capsys.readouterr()
    assert run(["translate", str(CLIP), "--model", str(moonshine), "--set", f"encoder={folder}"]) == 2
    err = capsys.readouterr().err
    assert "model.safetensors does not fit simulst.json: " in err and "conv1.weight" in err and err.count("\n") == 1


def test_auto_rounds_encoder_and_decoder_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulst.models.precision._quick", lambda device, *, int8: "int8")
    model = loaded(tiny_moonshine(tmp_path / "moonshine", width=288), "auto")
    assert isinstance(model.encoder.frames.get_submodule("conv2"), Int8Conv1d)
    assert any(isinstance(module, Int8Linear) for module in model.decoder.modules())
