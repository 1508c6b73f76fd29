import pytest
import torch
from torch import nn
from torch.nn import functional as F

from simulst.models import onednn


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As if on AMD; the numbers of rows that went through oneDNN."""
    if not (hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        pytest.skip("this torch has no oneDNN")
    rows: list[int] = []
    real = torch.ops.mkldnn._linear_pointwise

    class Spy:
        @staticmethod
        def _linear_pointwise(x: torch.Tensor, *rest: object) -> torch.Tensor:
            rows.append(len(x))
            return real(x, *rest)  # type: ignore[no-any-return]

    monkeypatch.setattr(onednn, "helps", lambda: True)
    monkeypatch.setattr(torch.ops, "mkldnn", Spy)
    return rows


@pytest.mark.parametrize("shape", [(1, 16), (11, 16), (12, 16), (3, 41, 16), (2, 50, 16), (1500, 16), (0, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_linear_layer(amd: list[int], shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 24, bias=bias), torch.randn(shape)
    expected = layer(x).detach()
    onednn.use(layer, exact=41)
    with torch.inference_mode():
        found = layer(x)
    assert found.shape == expected.shape
    assert not found.numel() or found.sub(expected).abs().max() < 1e-5


def test_rows_are_rounded_up_to_few_sizes_unless_they_are_exact(amd: list[int]) -> None:
    weight = torch.randn(24, 16)
    with torch.inference_mode():
        for rows in (11, 12, 41, 82, 50, 1500):
            onednn.linear(torch.randn(rows, 16), weight, exact=41)
    assert amd == [16, 41, 82, 64]


def test_gradients_and_other_types_go_the_usual_way(amd: list[int]) -> None:
    weight, x = torch.randn(24, 16, requires_grad=True), torch.randn(40, 16)
    onednn.linear(x, weight).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    with torch.inference_mode():
        half = onednn.linear(x.bfloat16(), weight.bfloat16())
    assert half.dtype == torch.bfloat16
    assert amd == []
    torch.testing.assert_close(half.float(), F.linear(x, weight), rtol=0.05, atol=0.2)
