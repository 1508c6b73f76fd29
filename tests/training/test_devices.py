"""Training on a device that is not the CPU, without one: the same losses, nothing mixed, nothing waited for."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.errors import DataError
from simulst.models.attention import choose_heads
from simulst.models.speech_llm.arithmetic import Arithmetic
from simulst.models.speech_llm.encoder import BlockCausalEncoder
from simulst.models.speech_llm.network import load_weights, read_config
from simulst.models.speech_llm.options import Options
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.models.speech_llm.vocabulary import VOCABULARY_FILE, SentencePieceVocabulary
from simulst.models.speech_llm.weights import Weights
from simulst.testing.accelerator import DEVICE, Pretend
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.training.batch import Batch, collate
from simulst.training.calibration import calibrate
from simulst.training.compiling import compile_layers
from simulst.training.computing import Computing, adam
from simulst.training.decoder import DecoderTraining, DecoderTrainingConfig
from simulst.training.features import _encode
from simulst.training.imitation import Imitation, full_context
from simulst.training.sample import Sample

CPU = Computing(dtype=torch.float32)
ELSEWHERE = Computing(device=DEVICE, dtype=torch.float32)
WIDTH = 128
VECTORS = np.random.default_rng(0).integers(0, 60_000, (40, WIDTH)).astype(np.uint16) & np.uint16(0x3FFF)

TEXT = [
    Sample([5, 30, 31, 6, 40, 2], [0, 0.3, 0.3, 0, 1, 1]),
    Sample([5, *range(50, 80), 6, 41, 2], [0.0] * 32 + [1, 1]),
]
SPEECH = [Sample([4, *[-1] * 20, 6, 40, 2], [0.0] * 22 + [1, 1], (0, 20), [30, 31, 31]), *TEXT]
READS = Sample([4, *[-1] * 12, 9, 40, 8, *[-1] * 8, 9, 41, 8], [0.0] * 13 + [1, 1, 1] + [0.0] * 8 + [1] * 3, (20, 40))
GROUPED = Sample([4, *[-1] * 20, 6, 40, 41, 2], [0.0] * 22 + [1, 1, 1], (0, 20), [30, 31], visible=[8, 14, 21, 21])

STAGES = {"text": TEXT, "decoder": SPEECH, "incremental": [READS, GROUPED, *SPEECH]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("device") / "model")


@dataclass
class Cost:
    """What steps of training gave and asked for."""

    losses: list[float]
    syncs: int
    copies: int


def steps(computing: Computing, folder: Path, samples: list[Sample], counted: Pretend, where: Path) -> Cost:
    """Two steps, of which the second is counted."""
    model = load_weights(folder, read_config(folder)).requires_grad_(True)
    config = DecoderTrainingConfig(steps=9, warmup_steps=1, ctc_random_tokens=20, accumulate=2)
    training = DecoderTraining(model, where, config, 7, computing)
    batches: list[Batch] = [collate(samples, VECTORS, WIDTH), collate(samples[:2], VECTORS, WIDTH)]
    training.step(batches)
    before = counted.syncs, counted.copies
    training.step(batches)
    syncs, copies = counted.syncs - before[0], counted.copies - before[1]
    return Cost([float(one) for one in (*training.losses, *training.ctc)], syncs, copies)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_step_of_every_stage(folder: Path, tmp_path: Path, stage: str) -> None:
    """A step never waits for the device; a batch goes there in at most nine copies, and CTC takes two of its own."""
    expected = steps(CPU, folder, STAGES[stage], Pretend(), tmp_path / "cpu")
    with Pretend() as counted:
        found = steps(ELSEWHERE, folder, STAGES[stage], counted, tmp_path / "device")
    assert found.losses == pytest.approx(expected.losses, rel=5e-4)
    assert len(found.losses) == (4 if stage == "text" else 8) and min(found.losses) > 0
    assert found.syncs == 0
    assert found.copies <= 2 * (9 + 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("stage", STAGES)
def test_a_step_on_a_gpu(folder: Path, tmp_path: Path, stage: str) -> None:
    expected = steps(CPU, folder, STAGES[stage], Pretend(), tmp_path / "cpu")
    computing = Computing(device=torch.device("cuda"), dtype=torch.bfloat16)
    found = steps(computing, folder, STAGES[stage], Pretend(), tmp_path / "device")
    assert found.losses == pytest.approx(expected.losses, rel=5e-2)


def test_a_step_of_imitation(folder: Path) -> None:
    audio = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, (2, 384 * 32)).astype(np.float32))

    def two_steps(computing: Computing, asked: Callable[[], int]) -> tuple[list[float], int]:
        encoder = load_weights(folder, read_config(folder)).encoder.requires_grad_(True).to(computing.device)
        optimiser = adam(encoder.parameters(), computing, 1e-3, 0.0)
        assert isinstance(encoder, BlockCausalEncoder)
        imitation, losses = Imitation(encoder, full_context(encoder), computing), list[torch.Tensor]()
        before = asked()
        for _ in range(2):
            loss, away = imitation.loss(audio)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimiser.step()
            losses += [loss.detach(), away]
        syncs = asked() - before
        return [float(one) for one in losses], syncs

    expected, _ = two_steps(CPU, lambda: 0)
    with Pretend() as counted:
        found, syncs = two_steps(ELSEWHERE, lambda: counted.syncs)
    assert found == pytest.approx(expected, rel=1e-3) and found[2] != found[0]
    assert syncs == 0


def test_features_come_back_in_one_copy(folder: Path) -> None:
    rng = np.random.default_rng(2)
    audio = [rng.normal(0, 0.1, count).astype(np.float32) for count in (20_000, 14_000)]
    encoder = load_weights(folder, read_config(folder)).encoder
    expected = _encode(encoder, audio, [3, 5], CPU)
    with Pretend() as counted:
        encoder.to(DEVICE)
        before = counted.syncs
        with torch.inference_mode():
            found = _encode(encoder, audio, [3, 5], ELSEWHERE)
        assert counted.syncs - before == 1
    assert sorted(found) == [3, 5]
    for name, vectors in expected.items():
        np.testing.assert_array_equal(found[name], vectors)


def test_calibration_chooses_what_it_chooses_on_the_cpu(folder: Path, tmp_path: Path) -> None:
    import soundfile

    samples = np.random.default_rng(3).normal(0, 0.1, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    line = {"audio": "a.wav", "target": "die Katze saß", "spans": [[0, 2], [0, 1.2], None]}
    (tmp_path / "timed.jsonl").write_text(json.dumps(line) + "\n")

    def chosen(device: torch.device) -> object:
        model = load_weights(folder, read_config(folder)).to(device)
        vocabulary = SentencePieceVocabulary(folder / VOCABULARY_FILE)
        heads = choose_heads(folder, None, [])
        weights = Weights(model, vocabulary, options=Options(), heads=heads, arithmetic=Arithmetic())
        return calibrate(
            SpeechLLMTranslator(weights, name="tiny", directory=folder), tmp_path / "timed.jsonl"
        ).to_json()

    expected = chosen(torch.device("cpu"))
    with Pretend():
        assert chosen(DEVICE) == expected


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.skipif("CI" in os.environ, reason="compiling takes one and a half minutes")
def test_compiled_layers_take_the_same_steps(folder: Path, tmp_path: Path) -> None:
    expected = steps(CPU, folder, STAGES["incremental"], Pretend(), tmp_path / "plain")
    compiled = replace(CPU, compiled=True)
    found = steps(compiled, folder, STAGES["incremental"], Pretend(), tmp_path / "compiled")
    assert found.losses == pytest.approx(expected.losses, rel=1e-3)


def test_a_machine_that_cannot_compile_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> object:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", lambda _: fails)
    with pytest.raises(DataError, match=r"compiled = true does not work on this machine .*No working C.*; install"):
        compile_layers(torch.nn.Linear(1, 1), 1, torch.device("cpu"))
