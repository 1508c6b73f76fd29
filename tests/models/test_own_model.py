"""`--model file.py:FAMILY`: a model family of one's own, and one sentence for every way in which it can be wrong."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from simulst.core.session import Session
from simulst.core.translator import Evidence
from simulst.errors import ModelError
from simulst.models import FAMILIES, describe_model, load_model, option_names, options_for
from simulst.models.fingerprint import fingerprint
from simulst.models.registry import locate
from simulst.policies import load_policy
from simulst.testing.audio_checkpoints import (
    tiny_granite_speech,
    tiny_phi4_multimodal,
    tiny_qwen2_audio,
    tiny_voxtral,
)
from simulst.testing.checkpoints import (
    tiny_canary,
    tiny_moonshine,
    tiny_moonshine_streaming,
    tiny_seamless,
    tiny_speech2text,
    tiny_whisper,
)
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.testing.streaming_checkpoints import tiny_nemotron, tiny_voxtral_realtime
from simulst.testing.text_checkpoints import tiny_causal, tiny_marian, tiny_nllb, tiny_t5

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "my_model.py"
TOY = """
from dataclasses import dataclass

from simulst.core.translator import Evidence
from simulst.models import ModelFamily
from simulst.models.options import option
from simulst.testing import ToyTranslator

PROVIDES = frozenset({Evidence.PREFIX, Evidence.ALIGNMENT})


@dataclass(frozen=True, kw_only=True)
class Options:
    look_ahead_s: float = option(0.0, "audio that is not heard yet")

    def __post_init__(self):
        if self.look_ahead_s < 0:
            raise ValueError("look_ahead_s must not be negative")


def provides(directory, options):
    return PROVIDES


def load(directory, options, *, name, device, dtype):
    model = ToyTranslator(name=name, provides=PROVIDES, look_ahead_s=options.look_ahead_s)
    return model


FAMILY = ModelFamily(name="toy", options=Options, provides=provides, load=load, unlocks={})
"""

TEXTLESS = """from simulst.testing.toy import ToySession
    class Textless(ToySession):
        text = None
    model.open = lambda: Textless(model)
    return model
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    def write(*changes: tuple[str, str], name: str = "FAMILY") -> str:
        text = TOY
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / "mine.py").write_text(text)
        return f"{tmp_path}/mine.py:{name}"

    return write


def test_it_is_loaded_described_and_told_apart(written: Callable[..., str], tmp_path: Path) -> None:
    spec = written()
    model = load_model(spec, look_ahead_s="0.5")
    assert model.name == "mine.py:FAMILY" and sorted(model.provides) == ["alignment", "prefix"]
    info = describe_model(spec)
    assert (info.name, info.provides) == ("mine.py:FAMILY", model.provides)
    assert info.description == f"toy of {tmp_path}/mine.py"
    assert info.options == {"look_ahead_s": "audio that is not heard yet (default: 0.0)"}
    assert option_names(spec) == {"look_ahead_s"}
    assert options_for(spec, frozenset({Evidence.GROUPED})) == {}
    before = fingerprint(spec)
    written(("0.0,", "0.1,"))
    assert before != fingerprint(spec) != ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([("FAMILY = ModelFamily(", "OTHER = ModelFamily(")], "has no 'FAMILY'; its model families are: OTHER."),
        ([("FAMILY = ModelFamily(", "dict(")], "has no 'FAMILY'; it must hold a simulst.models.ModelFamily."),
        ([("FAMILY = ModelFamily(", "FAMILY = dict(")], "mine.py:FAMILY is not a model family: it must be a simulst"),
        ([("FAMILY = ", "FAMILY = 1 / 0, ")], "mine.py fails: ZeroDivisionError: division by zero"),
        ([("FAMILY = ", "raise SystemExit(3)\nFAMILY = ")], "mine.py fails: SystemExit: 3"),
        ([("FAMILY = ", "FAMILY = = ")], "mine.py fails: SyntaxError: invalid syntax"),
        ([("options=Options,", "options=dict,")], "The options of model family 'toy' must be a dataclass, not"),
        ([("= option(0.0,", "#")], "Option 'look_ahead_s' of model family 'toy' has no default; give it one."),
        ([("load=load", "load=None")], "Model family 'toy' must say by functions what it provides and how it loads."),
        ([("unlocks={}", "unlocks={Evidence.GROUPED: 'x=1'}")], "'toy' unlocks grouped by 'x=1'; it takes evidence"),
        ([("return PROVIDES", "return 7")], "mine.py:FAMILY must provide a frozenset of evidence (prefix, "),
        ([("return PROVIDES", "return {'telepathy'}")], "must provide a frozenset of evidence (prefix, "),
        ([("return PROVIDES", "raise KeyError('x')")], "mine.py:FAMILY: what it provides fails: KeyError: 'x'"),
        (
            [("return PROVIDES", "return PROVIDES | {Evidence.NBEST}")],
            "says that its model provides alignment, nbest, prefix, but what it loads provides alignment, prefix; ",
        ),
        ([("return model", "raise OSError('no weights')")], "mine.py:FAMILY: loading fails: OSError: no weights"),
        ([("name, device, dtype", "name")], "mine.py:FAMILY: loading fails: TypeError: load() got an unexpected"),
        ([("return model", "return None")], "What mine.py:FAMILY loads lacks frame_s, max_source_s, name, open, "),
        ([("return model", "model.vocabulary = 'ab'; return model")], "The vocabulary of mine.py:FAMILY lacks closes"),
        ([("return model", "model.frame_s = None; return model")], "frame_s of what mine.py:FAMILY loads is None; it"),
        ([("return model", "model.max_source_s = 0; return model")], "max_source_s of what mine.py:FAMILY loads is 0;"),
        (
            [("return model", "model.open = dict; return model")],
            "A session of mine.py:FAMILY lacks chain, decoder_positions, ",
        ),
        ([("return model", "model.open = dict; return model")], "; extend PlainSession, beside it, for what is the"),
        (
            [("({Evidence.PREFIX", "({Evidence.SOURCE_LM, Evidence.PREFIX"), ("return model", TEXTLESS)],
            "mine.py:FAMILY provides source_lm, but text of its sessions is None.",
        ),
        ([("return model", "model.open = 3; return model")], "mine.py:FAMILY: opening a session fails: TypeError: "),
    ],
)
def test_what_is_wrong_is_one_sentence(
    written: Callable[..., str], changes: list[tuple[str, str]], sentence: str
) -> None:
    spec = written(*changes)
    with pytest.raises(ModelError) as caught:
        describe_model(spec)
        load_model(spec)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_wrong_options_are_one_sentence(written: Callable[..., str]) -> None:
    spec = written()
    for options, sentence in (
        ({"nope": 1}, r"^mine\.py:FAMILY: unknown option 'nope'; known: look_ahead_s\.$"),
        ({"look_ahead_s": "x"}, r"^Option 'look_ahead_s' of mine\.py:FAMILY must be a number, not 'x'\.$"),
        ({"look_ahead_s": -1}, r"^The options of mine\.py:FAMILY are refused: look_ahead_s must not be negative$"),
    ):
        with pytest.raises(ModelError, match=sentence):
            load_model(spec, **options)


def test_a_file_that_is_not_there_or_not_named_whole(written: Callable[..., str], tmp_path: Path) -> None:
    for name, sentence in (
        (f"{tmp_path}/none.py:FAMILY", f"There is no model file {tmp_path}/none.py."),
        (written(name=""), f"{tmp_path}/mine.py has no ''; its model families are: FAMILY."),
        (
            f"{tmp_path}/mine.py",
            f"The model '{tmp_path}/mine.py' is a file; give the name of the model family in it too: mine.py:FAMILY.",
        ),
    ):
        with pytest.raises(ModelError) as caught:
            load_model(name)
        assert str(caught.value) == sentence


MADE: dict[str, Callable[[Path], Path]] = {
    "speech_llm": make_tiny_speech_llm,
    "whisper": tiny_whisper,
    "moonshine": tiny_moonshine,
    "moonshine_streaming": tiny_moonshine_streaming,
    "seamless_m4t": tiny_seamless,
    "seamless_m4t_v2": lambda path: tiny_seamless(path, second=True),
    "canary": tiny_canary,
    "speech_to_text": tiny_speech2text,
    "marian": tiny_marian,
    "m2m_100": tiny_nllb,
    "t5": tiny_t5,
    "qwen2_audio": tiny_qwen2_audio,
    "voxtral": tiny_voxtral,
    "granite_speech": tiny_granite_speech,
    "phi4_multimodal": tiny_phi4_multimodal,
    "voxtral_realtime": tiny_voxtral_realtime,
    "nemotron_asr_streaming": tiny_nemotron,
    "nemotron3_5_asr": partial(tiny_nemotron, many=True),
    **{kind: partial(tiny_causal, kind=kind) for kind in FAMILIES if FAMILIES[kind].endswith("causal_lm:FAMILY")},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_promises_what_its_models_provide(kind: str, tmp_path: Path) -> None:
    directory = MADE[kind](tmp_path / kind)
    place = locate(str(directory))
    family = place.family()
    plain = family.provides(directory, family.read({}, owner=kind))
    assert plain == load_model(directory).provides
    for evidence, option in family.unlocks.items():
        key, _, value = option.partition("=")
        promised = family.provides(directory, family.read({key: value}, owner=kind))
        assert promised == load_model(directory, **{key: value}).provides == plain | {evidence}
    assert describe_model(directory).provides == plain | set(family.unlocks)


def test_the_example_recognises_on_a_tiny_model(tmp_path: Path) -> None:
    tiny = make_tiny_speech_llm(tmp_path / "tiny")
    model = load_model(f"{EXAMPLE}:FAMILY", of=str(tiny))
    session = Session(model, load_policy("wait_k-3"), chunk_ms=320, keep_transcript=True)
    rng = np.random.default_rng(0)
    for _ in range(40):
        session.feed((0.1 * rng.standard_normal(16_000)).astype(np.float32))
    session.finish()
    whole = session.transcript().replace("\ufffd", "")  # bytes of a random vocabulary, which text leaves out
    assert session.text.split() == whole.split() != []
    assert 30 <= len(EXAMPLE.read_text().splitlines()) <= 60
