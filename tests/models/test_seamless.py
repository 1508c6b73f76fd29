from pathlib import Path

import numpy as np
import pytest

from simulst import load_model
from simulst.core.source import FloatArray
from simulst.core.translator import Evidence, Query
from simulst.errors import ModelError
from simulst.models.seq2seq.translator import Seq2SeqTranslator
from simulst.testing.checkpoints import tiny_seamless, tiny_speech2text


def test_seamless_prompt_ends_in_the_target_language(seamless_dir: Path) -> None:
    for target, prompt in (("eng", (3, 4)), ("deu", (3, 5)), ("de", (3, 5))):
        model = load_model(seamless_dir, target=target)
        assert isinstance(model, Seq2SeqTranslator) and model.prompt() == prompt
        assert {4, 5} <= model.vocabulary.special
    with pytest.raises(ModelError, match=r"does not know the target language 'xx'; it knows: deu, eng\.$"):
        load_model(seamless_dir, target="xx")


def test_seamless_frames_are_160_ms_and_none_lies_behind_the_end(seamless_dir: Path, noise: FloatArray) -> None:
    session = load_model(seamless_dir).open()
    session.extend_source(noise[:41_000])
    found = session.hypothesise((), Query(max_new=2, want=frozenset({Evidence.ALIGNMENT})))[0].alignment
    assert found is not None and found.frame_s == 0.16
    assert found.n_valid == 16 == found.weights.shape[1]  # 41,000 samples are 16.02 frames of features, cut to 16


def test_second_version_loads_too(tmp_path: Path, noise: FloatArray) -> None:
    model = load_model(tiny_seamless(tmp_path / "v2", second=True), target="de")
    session = model.open()
    session.extend_source(noise)
    assert session.hypothesise((), Query(max_new=3))[0].ids
    assert type(model.decoder).__name__ == "SeamlessM4Tv2Decoder"  # type: ignore[attr-defined]


def test_speech2text_frames_are_40_ms_and_silence_is_no_nan(speech2text_dir: Path) -> None:
    session = load_model(speech2text_dir).open()
    session.extend_source(np.zeros(32_000, dtype=np.float32))
    found = session.hypothesise((), Query(max_new=2, want=frozenset({Evidence.ALIGNMENT})))[0].alignment
    assert found is not None and found.frame_s == 0.04 and found.n_valid == 50
    assert np.isfinite(found.weights).all()


def test_speech2text_asks_for_a_target_where_there_are_several(speech2text_dir: Path, tmp_path: Path) -> None:
    several = tiny_speech2text(tmp_path / "several", multilingual=True)
    with pytest.raises(ModelError, match=r"^several needs option 'target', one of: de, fr\.$"):
        load_model(several)
    model = load_model(several, target="fr")
    assert isinstance(model, Seq2SeqTranslator) and model.prompt() == (2, 5)
    with pytest.raises(ModelError, match=r"knows one target language only; leave out option 'target'\.$"):
        load_model(speech2text_dir, target="de")


@pytest.mark.parametrize("content", ["{}", '{"a": 0, "b": 2}', '{"a": "x"}'])
def test_damaged_vocabulary_is_one_sentence(tmp_path: Path, content: str) -> None:
    directory = tiny_speech2text(tmp_path / "s2t")
    (directory / "vocab.json").write_text(content)
    with pytest.raises(
        ModelError, match=r"^The vocabulary \(vocab\.json\) of s2t does not number its pieces from 0 on\.$"
    ):
        load_model(directory)
