"""examples/make_tiny_en.py and make_heard.py: fewer pieces spell the same text, and clips are heard as streams are."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from simulst import Session, load_model, load_policy
from simulst.audio import open_file
from simulst.bundled import talk
from simulst.errors import SimulstError
from simulst.plugins import module_from_file

EXAMPLES = Path(__file__).parents[2] / "examples"
TOKENIZER = Path(__file__).parents[2] / "simulst" / "models" / "tiny-en" / "tokenizer.json"
SENTENCES = ["He was a teacher at a school in our town.", "Good morning, everyone. I am very happy."]


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return module_from_file(EXAMPLES / f"{name}.py", what="example", error=SimulstError)


def test_pieces_that_english_does_not_use_go_and_their_words_are_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = script("make_tiny_en", monkeypatch)
    text = tmp_path / "text.tsv"
    text.write_text("".join(f"{one}\tegal\n" for one in SENTENCES))
    before, content = Tokenizer.from_file(str(TOKENIZER)), json.loads(TOKENIZER.read_text())
    ids = made.kept_ids(content, made.used_ids(TOKENIZER, [text], 1))
    after = Tokenizer.from_str(json.dumps(made.with_pieces(content, ids)))
    assert 259 < len(ids) < 400 and ids == sorted(ids) and ids[:259] == list(range(259))
    for said in SENTENCES:
        one, other = before.encode(said).ids, after.encode(said).ids
        assert [before.id_to_token(k) for k in one] == [after.id_to_token(k) for k in other]
        assert [ids[k] for k in other] == one, "a row of the embeddings for each piece"
    for strange in ("Kubernetes über Straße", "the grandfather's cat"):
        assert after.decode(after.encode(strange).ids) == strange
    rows = made.with_rows({made.EMBEDDINGS: torch.arange(18_000.0)[:, None]}, ids)[made.EMBEDDINGS]
    assert rows[:, 0].tolist() == ids


def test_pieces_that_are_used_once_are_not_enough_for_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = script("make_tiny_en", monkeypatch)
    text = tmp_path / "text.tsv"
    text.write_text("happy\tx\nhappy morning\tx\nhappy\ty\n")
    once, twice = (made.used_ids(TOKENIZER, [text], least) for least in (1, 2))
    assert twice < once, "a sentence that comes again counts once"


def test_clips_of_a_batch_are_heard_as_a_stream_is(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = script("make_heard", monkeypatch)
    with open_file(talk()) as stream:
        clip = np.concatenate(list(stream))[: int(5.6 * 16_000)]
    model = load_model("tiny-en")
    session = Session(model, load_policy("offline"))
    session.feed(clip)
    session.finish()
    alone, beside = heard.transcripts(model, [clip])[0], heard.transcripts(model, [clip[:48_000], clip])
    assert alone == session.text.strip() and alone.startswith("Good morning, everyone.")
    assert beside[1] == alone and alone.startswith(beside[0][:12])
    assert heard.bare("He's here, isn't he?") == "he's here isn't he"


def test_what_was_stopped_goes_on_to_the_same_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = script("make_heard", monkeypatch)
    sentences = {k: (f"this is number {k}", [f"das ist Nummer {k}", f"Nummer {k}"]) for k in range(40)}

    def hear(recipe: None, begin: int) -> Iterator[tuple[int, list[tuple[int, str]]]]:
        for first in range(begin, 40, 10):
            said = [(k, f"This is number {k}." if k % 4 else "Nothing of it at all") for k in range(first, first + 10)]
            yield first + 10, said
            if first == stopped:
                raise KeyboardInterrupt

    monkeypatch.setattr(made, "hear", hear)
    stopped = -1
    made.write_heard(None, sentences, tmp_path / "whole.tsv")
    stopped = 20
    with pytest.raises(KeyboardInterrupt):
        made.write_heard(None, sentences, tmp_path / "parts.tsv")
    with (tmp_path / "parts.tsv").open("a") as torn:
        torn.write("This is num")
    stopped = -1
    made.write_heard(None, sentences, tmp_path / "parts.tsv")
    whole = (tmp_path / "whole.tsv").read_text()
    assert (tmp_path / "parts.tsv").read_text() == whole
    assert "This is number 5.\tdas ist Nummer 5\n" in whole and "Nothing" not in whole
    assert 60 <= len(whole.splitlines()) <= 80 and "this is number " in whole, "some come once more without marks"
