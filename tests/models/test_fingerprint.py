"""Weights are told apart by what is in them, not by where they lie."""

import shutil
from pathlib import Path

import simulst
from simulst.models import DEFAULT_MODEL
from simulst.models.fingerprint import fingerprint


def make(folder: Path, last: bytes = b"x") -> str:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "whisper"}')
    (folder / "model.safetensors").write_bytes(bytes(3_000_000) + last)
    (folder / "README.md").write_text(str(folder))
    return str(folder)


def test_place_and_remarks_do_not_matter_but_weights_do(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert fingerprint(first) == fingerprint(second) and len(fingerprint(first)) == 16
    assert fingerprint(make(tmp_path / "c", b"y")) != fingerprint(first)
    (tmp_path / "b" / "alignment_heads.json").write_text("[]")
    assert fingerprint(second) != fingerprint(first)


def test_names(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(Path(simulst.__file__).parent / "models" / DEFAULT_MODEL, copy)
    assert fingerprint(DEFAULT_MODEL) == fingerprint(str(copy))
    assert fingerprint(f"{DEFAULT_MODEL}+{copy}") == "+".join([fingerprint(str(copy))] * 2)
    assert fingerprint("no such model") == ""
