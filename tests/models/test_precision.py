"""Names of numbers that models compute with."""

import logging

import pytest
import torch

from simulst.errors import ModelError
from simulst.models import int8, precision
from simulst.models.precision import Precision, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        (None, CPU, Precision(dtype=torch.float32)),
        ("bfloat16", GPU, Precision(dtype=torch.bfloat16)),
        ("torch.float32", CPU, Precision(dtype=torch.float32)),
        ("int8", CPU, Precision(dtype=torch.float32, int8=True)),
        ("auto", GPU, Precision(dtype=torch.bfloat16)),
    ],
)
def test_names(name: str | None, device: torch.device, expected: Precision) -> None:
    assert choose_precision(name, device, int8=True) == expected


@pytest.mark.parametrize("gains", [True, False])
def test_auto_on_a_cpu_is_what_is_quick_there(monkeypatch: pytest.MonkeyPatch, gains: bool) -> None:
    monkeypatch.setattr(precision, "int8_gains", lambda: gains)
    assert choose_precision("auto", CPU, int8=True).int8 is gains
    assert not choose_precision("auto", CPU).int8


def test_no_kernels_no_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "available", lambda: False)
    precision.int8_gains.cache_clear()
    try:
        assert not precision.int8_gains()
    finally:
        precision.int8_gains.cache_clear()


@pytest.mark.parametrize(
    ("name", "device", "can", "sentence"),
    [
        (
            "int4",
            CPU,
            True,
            "Unknown dtype 'int4' for this model; known: float32, bfloat16, float16, int8, auto.",
        ),
        ("int8", CPU, False, "Unknown dtype 'int8' for this model; known: float32, bfloat16, float16, auto."),
        ("int8", GPU, True, "int8 is for CPUs, and the model runs on cuda; use dtype=bfloat16."),
    ],
)
def test_what_cannot_be(name: str, device: torch.device, can: bool, sentence: str) -> None:
    with pytest.raises(ModelError) as raised:
        choose_precision(name, device, int8=can)
    assert str(raised.value) == sentence


def test_half_precision_on_a_cpu_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        choose_precision("float16", GPU)
        assert not caplog.messages
        choose_precision("float16", CPU)
    assert caplog.messages == ["float16 on a CPU is several times slower than float32; use int8 or bfloat16 there."]
