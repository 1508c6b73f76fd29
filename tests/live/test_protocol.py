"""The protocol's own rules, and its document."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulst.live import protocol
from simulst.live.protocol import CLOSE_CODES, Hello, ProtocolError, read_hello, read_message, read_switch

ROOT = Path(__file__).parents[2]
HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "s16le"}


def test_the_document_is_the_docstring() -> None:
    document = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert protocol.__doc__ is not None
    assert protocol.__doc__.split("\n\n", 1)[1].strip() in document
    for code, number in CLOSE_CODES.items():
        assert f"| `{code}` | {number} |" in document


def test_a_hello_has_defaults() -> None:
    assert read_hello(HELLO) == Hello(sample_rate=16_000, format="s16le")
    assert read_hello(HELLO | {"channels": 2}).frame_bytes == 4


def test_a_switch_changes_what_it_names() -> None:
    hello = read_hello(HELLO | {"model": "a", "policy": "wait_k", "chunk_ms": 320})
    changed = read_switch({"type": "switch", "policy": "offline"}, hello)
    assert (changed.model, changed.policy, changed.chunk_ms) == ("a", "offline", None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*Hello.__dataclass_fields__, "version", "token"]), JSON))
def test_any_hello_is_taken_or_named(changes: dict[str, object]) -> None:
    try:
        hello = read_hello(HELLO | changes)
    except ProtocolError as error:
        assert error.code in CLOSE_CODES
        assert str(error).endswith(".")
    else:
        assert hello.frame_bytes in range(2, 33)


@given(st.text(max_size=30))
def test_any_text_is_a_message_or_named(text: str) -> None:
    try:
        assert isinstance(read_message(text)["type"], str)
    except ProtocolError as error:
        assert error.code == "bad_message"


def test_the_example_is_short_and_runs(tmp_path: Path) -> None:
    example = ROOT / "examples" / "live_subtitles.py"
    assert len(example.read_text().splitlines()) <= 60
    code = (
        "import runpy, sys, simulst.models, simulst.testing as t, soundfile;"
        "simulst.models.load_model = lambda name: t.ToyTranslator();"
        "soundfile.write('talk.wav', t.toy_audio([3, 5, 7]), 16000, subtype='FLOAT');"
        f"sys.argv = ['x', 'talk.wav', 'out.srt']; runpy.run_path({str(example)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.srt").read_text().splitlines()[2] == "w3 w5 w7"
    assert "out.srt: 1 subtitles" in done.stdout


@pytest.mark.parametrize("code", [*CLOSE_CODES, *protocol.NOT_FATAL])
def test_codes_say_whether_they_are_fatal(code: str) -> None:
    assert ProtocolError(code, "x.").fatal == (code in CLOSE_CODES)
