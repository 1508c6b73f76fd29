"""`simulst bench gpu`, tried on a CPU with a tiny Llama of random weights."""

import json

import pytest

import simulst.cli


@pytest.mark.slow
def test_the_figures_of_a_tiny_llama_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--streams", "1,3", "--seconds", "2", "--tokens", "5", "--most", "1"]
    assert simulst.cli.run(["bench", "gpu", "--device", "cpu", "--random", "tiny", *sizes, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["device"], found["dtype"], found["model"]) == ("cpu", "float32", "llama-tiny of random weights")
    assert [row["streams"] for row in found["together"]] == [1, 3]
    assert all(row["ms_per_chunk"] > 0 and row["ms_per_token"] > 0 for row in found["together"])
    assert found["together"][1]["tokens_per_s"] > 0 and found["together"][1]["mb_per_stream"] is None
    assert found["together"][0]["same_share"] == 1.0
    (one,) = found["carried"]
    assert one["streams"] == 1 and 0 < one["lag_p50_ms"] <= one["lag_p95_ms"] <= one["lag_p99_ms"]
    assert found["most_streams"] == int(one["in_time"])


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (
            ["--device", "cpu", "--streams", "1,x"],
            "--streams is '1,x'; it must be whole numbers above 0 such as 1,8,32.",
        ),
        (["--device", "cuda:99"], "Device 'cuda:99' is not available on this machine; use cpu or auto."),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    args: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulst.cli.run(["bench", "gpu", *args]) == 2
    assert sentence in capsys.readouterr().err
