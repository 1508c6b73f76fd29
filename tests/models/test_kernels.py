import pytest
import torch
from torch import nn
from torch.nn import functional as F

from simulst.errors import ModelError
from simulst.models import kernels
from simulst.models.kernels import OneDnnLinear, linear, plain, replace_layers


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of rows that went through oneDNN."""
    if not kernels.available():
        pytest.skip("this torch has no oneDNN")
    rows: list[int] = []
    real = torch.ops.mkldnn._linear_pointwise

    class Spy:
        @staticmethod
        def _linear_pointwise(x: torch.Tensor, *rest: object) -> torch.Tensor:
            rows.append(len(x))
            return real(x, *rest)  # type: ignore[no-any-return]

    monkeypatch.setattr(torch.ops, "mkldnn", Spy)
    return rows


@pytest.mark.parametrize("shape", [(1, 16), (11, 16), (12, 16), (3, 41, 16), (2, 50, 16), (1500, 16), (0, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_linear_layer(sizes: list[int], shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 24, bias=bias), torch.randn(shape)
    expected = layer(x).detach()
    quick = OneDnnLinear(layer.weight, layer.bias, exact=41)
    with torch.inference_mode():
        found = quick(x)
    assert found.shape == expected.shape
    assert not found.numel() or found.sub(expected).abs().max() < 1e-5


def test_rows_are_rounded_up_to_few_sizes_unless_they_are_exact(sizes: list[int]) -> None:
    weight = torch.randn(24, 16)
    with torch.inference_mode():
        for rows in (11, 12, 41, 82, 50, 1500):
            linear(torch.randn(rows, 16), weight, exact=41)
    assert sizes == [16, 41, 82, 64]


def test_gradients_and_other_types_go_the_usual_way(sizes: list[int]) -> None:
    weight, x = torch.randn(24, 16, requires_grad=True), torch.randn(40, 16)
    linear(x, weight).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    with torch.inference_mode():
        half = linear(x.bfloat16(), weight.bfloat16())
    assert half.dtype == torch.bfloat16
    assert sizes == []
    torch.testing.assert_close(half.float(), F.linear(x, weight), rtol=0.05, atol=0.2)


def test_replaced_layers_keep_their_weights_and_others_are_left_alone() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Sequential(nn.Linear(6, 2, bias=False)))
    before = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}
    replace_layers(module, OneDnnLinear)
    kinds = [type(one) for one in module.modules()]
    assert kinds == [nn.Sequential, OneDnnLinear, nn.GELU, nn.Sequential, OneDnnLinear]
    assert {name: tensor.data_ptr() for name, tensor in module.state_dict().items()} == before


@pytest.mark.parametrize(("onednn_s", "expected"), [(0.5, "onednn"), (0.95, "plain"), (2.0, "plain")])
def test_the_quicker_kernel_is_taken_and_near_ties_end_the_same_way(
    monkeypatch: pytest.MonkeyPatch, onednn_s: float, expected: str
) -> None:
    """Whatever the vendor of the processor says of itself."""
    monkeypatch.setattr(kernels, "available", lambda: True)
    monkeypatch.setattr(kernels, "least_seconds", lambda calls: [1.0, onednn_s])
    kernels.quickest.cache_clear()
    try:
        assert kernels.chosen("auto", torch.zeros(1)) == expected
        assert kernels.chosen("plain", torch.zeros(1)) == "plain"
        assert kernels.chosen("onednn", torch.zeros(1)) == "onednn"
        assert kernels.chosen("onednn", torch.zeros(1, dtype=torch.bfloat16)) == "plain"
    finally:
        kernels.quickest.cache_clear()


def test_a_kernel_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "available", lambda: False)
    with pytest.raises(ModelError, match=r"^This torch has no oneDNN; leave out kernel=onednn\.$"):
        kernels.chosen("onednn", torch.zeros(1))


def test_calls_are_timed_in_turn() -> None:
    order: list[int] = []
    layer = plain(torch.zeros(2, 2), None)
    first, second = kernels.least_seconds([lambda: _noted(order, 0, layer), lambda: _noted(order, 1, layer)])
    assert order == [0, 1] * (1 + kernels.ROUNDS)
    assert 0 < first < 1 and 0 < second < 1


def _noted(order: list[int], which: int, layer: nn.Module) -> torch.Tensor:
    order.append(which)
    found: torch.Tensor = layer(torch.ones(1, 2))
    return found
