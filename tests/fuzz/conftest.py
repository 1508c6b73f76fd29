"""The command line with a toy model in this process."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

TOY = Path(__file__).parents[1] / "cli" / "toy_simulst.py"


@pytest.fixture(scope="module")
def toy_run() -> Iterator[Callable[[Sequence[str]], int]]:
    """Runs a command; the models are put back when the module is done."""
    import simulst.models

    before = simulst.models.load_model, simulst.models.option_names
    spec = importlib.util.spec_from_file_location("toy_simulst", TOY)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run: Callable[[Sequence[str]], int] = module.run
    yield run
    simulst.models.load_model, simulst.models.option_names = before
