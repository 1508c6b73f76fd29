"""The command line with a toy model, in this process."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

TOY = Path(__file__).with_name("toy_simulst.py")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls the command line in this process; returns exit status, stdout and stderr."""
    import simulst.models

    monkeypatch.setattr(simulst.models, "load_model", simulst.models.load_model)  # undone after the test
    monkeypatch.setattr(simulst.models, "option_names", simulst.models.option_names)
    spec = importlib.util.spec_from_file_location("toy_simulst", TOY)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*args: object) -> tuple[int, str, str]:
        status = module.run([str(arg) for arg in args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
