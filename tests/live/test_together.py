"""Streams of several clients in one forward: each says what it says alone."""

import threading

import numpy as np
import pytest

from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.errors import SimulstError
from simulst.live.engine import Engine
from simulst.live.protocol import Hello
from simulst.live.together import Together
from simulst.models import load_model
from simulst.models.speech_llm.batching import Batcher
from simulst.policies import load_policy
from simulst.testing import ToyTranslator
from simulst.testing.speech_llm import make_tiny_speech_llm

HELLO = Hello(sample_rate=16_000, format="f32le")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return load_model(str(make_tiny_speech_llm(tmp_path_factory.mktemp("model"))))


def hear(
    engine: Engine, audio: "np.ndarray[tuple[int], np.dtype[np.float32]]", texts: dict[int, str], key: int
) -> None:
    for block in np.array_split(audio, 9):
        engine.work(block.tobytes(), False)
    engine.work(b"", True)
    texts[key] = engine.session.text


@pytest.mark.slow
def test_streams_together_say_what_they_say_alone(model: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    audio = [rng.normal(0, 0.1, 16_000 * (2 + i)).astype(np.float32) for i in range(4)]
    apart, joint, batchers = dict[int, str](), dict[int, str](), list[Batcher]()
    monkeypatch.setattr("simulst.live.together.WAIT_S", 5.0)  # a busy machine must not keep them apart
    made = Batcher.__init__

    def noted(self: Batcher, *args: object, **options: object) -> None:
        batchers.append(self)
        made(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Batcher, "__init__", noted)
    together = Together({"tiny": model}, streams=4)
    threads = []
    for i, one in enumerate(audio):
        hear(Engine([Session(model, load_policy("hold_n"), chunk_ms=640)], HELLO), one, apart, i)
        engine = Engine([Session(together.models["tiny"], load_policy("hold_n"), chunk_ms=640)], HELLO, together)
        threads.append(threading.Thread(target=hear, args=(engine, one, joint, i)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert joint == apart
    assert any(apart.values())
    assert batchers[0].stats.requests > 1.5 * batchers[0].stats.forwards


def test_a_model_that_cannot_is_offered_as_it_is(model: Translator) -> None:
    toy = ToyTranslator()
    together = Together({"toy": toy, "tiny": model}, streams=2)
    assert together.models["toy"] is toy
    assert together.models["tiny"] is not model
    with (
        together(toy),
        pytest.raises(
            SimulstError, match=r"^--batch needs a speech LLM, an encoder-decoder or a cascade of them; toy ca"
        ),
    ):
        Together({"toy": toy}, streams=2)
