import os
from pathlib import Path

import pytest

from simulst.core.translator import Draw
from simulst.errors import ModelError
from simulst.models.text.source_model import load_source_model

WEIGHTS = Path(os.environ.get("SIMULST_WEIGHTS", Path.home() / ".cache" / "simulst" / "weights"))
SMOLLM = WEIGHTS / "smollm2-135m-instruct"


def test_unknown_source_model_is_a_sentence() -> None:
    with pytest.raises(ModelError, match="Unknown source model 'nowhere'; give a directory or a hub name"):
        load_source_model("nowhere")


def test_directory_without_weights_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no weights"):
        load_source_model(str(tmp_path))


@pytest.mark.real
@pytest.mark.skipif(not SMOLLM.is_dir(), reason="needs SmolLM2-135M-Instruct")
def test_continuations_are_text_in_one_line_and_follow_their_seed() -> None:
    model = load_source_model(str(SMOLLM))
    text = "I would like to tell you a story about my"
    first, again = (model.continue_source(text, Draw(n=4, max_tokens=6, seed=5)) for _ in range(2))
    other = model.continue_source(text, Draw(n=4, max_tokens=6, seed=6))
    assert first == again != other
    assert len(first) == 4
    assert all("\n" not in continuation and text not in continuation for continuation in first)
    assert any(continuation.startswith(" ") for continuation in first)
