import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulst.errors import ModelError
from simulst.models.vocabulary import PieceVocabulary, read_tokenizer

BYTES = [bytes([i]) for i in range(256)]


@given(st.text())
def test_bytes_decode_to_the_text(text: str) -> None:
    vocabulary = PieceVocabulary([*BYTES, b""], eos=256)
    assert vocabulary.decode(list(text.encode())) == text


def test_an_unfinished_character_becomes_one_replacement_mark() -> None:
    vocabulary = PieceVocabulary([*BYTES, b""], eos=256)
    euro = list("5 €".encode())
    assert vocabulary.decode(euro) == "5 €"
    assert vocabulary.decode(euro[:-1]) == "5 \ufffd"


def test_words_marks_and_special_tokens() -> None:
    pieces = [b" the", b"re", b".", b" .", b"</s>", b"?!", "。".encode(), b" ", b"n't", b"-", b"<x>"]
    vocabulary = PieceVocabulary(pieces, eos=4, special=[10])
    assert [vocabulary.starts_word(i) for i in range(11)] == [i in (0, 3, 7) for i in range(11)]
    assert [i for i in range(11) if vocabulary.closes_unit(i)] == [2, 5, 6]
    assert vocabulary.decode([0, 1, 4, 10, 2, 99, -1]) == " there."


def test_without_spaces_every_new_character_opens_a_word() -> None:
    euro = "字".encode()
    vocabulary = PieceVocabulary([euro, euro[:1], euro[1:], b"", b"a"], eos=3, spaced=False)
    assert [vocabulary.starts_word(i) for i in range(5)] == [True, True, False, False, True]


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"model": {}, "added_tokens": []}', '{"model": {"vocab": {}}, "added_tokens": []}', '{"model": 3}'],
)
def test_damaged_tokenizer_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        read_tokenizer(tmp_path / "tokenizer.json")
    assert str(caught.value).startswith(f"The tokenizer {tmp_path}/tokenizer.json ")
    assert "\n" not in str(caught.value)


def test_both_families_of_tokenizers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    byte_level = {"decoder": {"type": "ByteLevel"}, "model": {"vocab": {"\u0120a": 0, "\u00e2\u0124\u00ac": 1}}}
    path.write_text(json.dumps({**byte_level, "added_tokens": [{"id": 2, "content": "<|x|>", "special": True}]}))
    assert read_tokenizer(path) == ([b" a", "€".encode(), b"<|x|>"], frozenset({2}))
    pieces = {"model": {"vocab": {"\u2581a": 0, "<0xE2>": 1}}, "added_tokens": []}
    path.write_text(json.dumps(pieces))
    assert read_tokenizer(path) == ([b" a", b"\xe2"], frozenset())
    unigram = {"model": {"vocab": [["\u2581a", -1.0], ["b", -2.0]]}, "added_tokens": []}
    path.write_text(json.dumps(unigram))
    assert read_tokenizer(path) == ([b" a", b"b"], frozenset())
