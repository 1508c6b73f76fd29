"""Weights of a real model lie in memory once, however many workers read them."""

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from simulst.eval.data import Item
from simulst.eval.logs.instances import Instance
from simulst.eval.run import ModelLoader, RunSpec
from simulst.eval.run.pool import Work, run_here, run_workers
from simulst.eval.run.stream import translate_item
from simulst.policies import load_policy

pytestmark = pytest.mark.real
WEIGHTS = Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser() / "whisper-base"
TALK = Path(__file__).parents[1] / "data" / "two_sentences_de.ogg"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"{WEIGHTS} is absent")
def test_what_a_worker_has_of_its_own_is_less_than_the_weights() -> None:
    spec = RunSpec(model=str(WEIGHTS), options={"source": "de"}, policy=load_policy("wait_k", chunk_ms=2000))

    def load() -> Work:
        model = ModelLoader()(spec)

        def translate(item: Item) -> Instance:
            said = translate_item(model, spec, item)
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
            sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
            # clean private pages belong to files (libraries), of which the system keeps one copy
            return replace(said, extra={"own_mb": sizes["Private_Dirty"] / 1024})

        return partial(run_here, translate=translate)

    items = [Item(index=i, audio=TALK, name=TALK.name, audio_s=1.0) for i in range(2)]
    outcomes = list(run_workers(items, load, workers=2, share=True))
    weights_mb = (WEIGHTS / "model.safetensors").stat().st_size / 2**20
    for outcome in outcomes:
        assert outcome.instance is not None, outcome.trace
        own_mb = outcome.instance.extra["own_mb"]
        assert isinstance(own_mb, float)
        assert outcome.instance.prediction and own_mb < 0.6 * weights_mb
