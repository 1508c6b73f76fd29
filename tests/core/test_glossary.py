"""Glossaries: what a file may hold, which terms a transcript holds, and which tokens they make likelier."""

from pathlib import Path

import pytest

from simulst.core.favoured import Favouring, times_said
from simulst.core.glossary import MAX_CHARACTERS, Glossary, Term, parse_glossary, read_glossary
from simulst.errors import GlossaryError
from simulst.models.vocabulary import PieceVocabulary


def terms(glossary: Glossary) -> dict[str, str]:
    return {term.source: term.target for term in glossary.terms}


def heard(glossary: Glossary, transcript: str) -> dict[str, list[int]]:
    return {term.source: places for term, places in glossary.heard(transcript).items()}


def test_comments_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "terms.tsv"
    path.write_bytes("\ufeff# names\n\ndog\tHund\r\nNew  York \t Neu York\n".encode())
    assert terms(read_glossary(path)) == {"dog": "Hund", "New York": "Neu York"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dog Hund", "terms, line 1: write the source, one tab and the target."),
        ("a\tb\ncat\t", "terms, line 2: write the source, one tab and the target."),
        ("\tHund", "terms, line 1: write the source, one tab and the target."),
        ("...\tHund", "terms, line 1: write the source, one tab and the target."),
        ("a\tb\tc", "terms, line 1: write the source, one tab and the target."),
        ("dog\tHund\n\nDog\tKöter", "terms, line 3: 'Dog' has a translation already, in line 1."),
        ("x" * 201 + "\ty", "terms, line 1: a term has at most 200 characters."),
        ("do\x1b[31mg\tHund", "terms, line 1: a control character is in the term; remove it."),
        ("# nothing", "terms has no terms; write the source, one tab and the target on each line."),
        ("\n".join(f"w{i}\tx" for i in range(10_001)), "terms has 10001 terms; at most 10000 are allowed."),
    ],
)
def test_a_broken_line_is_named(text: str, sentence: str) -> None:
    with pytest.raises(GlossaryError) as error:
        parse_glossary(text, where="terms")
    assert str(error.value) == sentence


def test_files_that_are_none_are_one_sentence(tmp_path: Path) -> None:
    for name, data, sentence in [
        ("binary", b"\xff\xfe\t\xff", "is not text in UTF-8."),
        ("huge", b"x" * (MAX_CHARACTERS + 1), f"is longer than {MAX_CHARACTERS} characters."),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(GlossaryError) as error:
            read_glossary(tmp_path / name)
        assert str(error.value) == f"The glossary {tmp_path / name} {sentence}"
    with pytest.raises(GlossaryError, match="cannot be read: no such file or directory"):
        read_glossary(tmp_path / "nowhere")
    with pytest.raises(GlossaryError, match="must be from 0 to 100, not -1"):
        parse_glossary("dog\tHund", boost=-1)


def test_the_longest_term_counts_at_every_place() -> None:
    glossary = parse_glossary("york\tYork\nnew york\tNeu York\ncity\tStadt")
    assert heard(glossary, "New York, a city: york and new York.") == {"new york": [0, 6], "city": [3], "york": [4]}


def test_words_that_were_heard_a_little_wrong_are_recognised() -> None:
    glossary = parse_glossary("grandfather\tOpa\nroom\tZimmer\nworld\tWelt\ncar\tAuto")
    assert heard(glossary, "gradnfather") == {"grandfather": [0]}  # letters changed places
    assert heard(glossary, "granfather grandfathher") == {"grandfather": [0, 1]}
    assert heard(glossary, "the roomom worlds") == {"room": [1], "world": [2]}
    assert heard(glossary, "would rooster carpet") == {}


VOCABULARY = PieceVocabulary([b"", b" H", b" h", b"und", b"u", b"n", b"d", b" der", b" ein", b"hof"], eos=0)
H, UND, DER, EIN, HOF = 1, 3, 7, 8, 9


def test_words_are_written_with_the_fewest_tokens() -> None:
    assert VOCABULARY.spell("Hund") == (H, UND)
    assert VOCABULARY.spell("der Hundhof") == (DER, H, UND, HOF)
    assert VOCABULARY.spell("Katze") == ()


def boosts(glossary: str, transcript: str, prefix: tuple[int, ...], ids: tuple[int, ...]) -> dict[int, float]:
    favoured = Favouring(parse_glossary(glossary, boost=2.0), VOCABULARY).favoured(transcript, prefix)
    return {} if favoured is None else favoured.boosts(ids)


def test_a_term_that_was_heard_is_begun_and_continued_until_it_is_said() -> None:
    assert boosts("dog\tHund", "the dog", (), ()) == {H: 2.0}
    assert boosts("dog\tHund", "the dog", (DER,), (H,)) == {H: 2.0, UND: 2.0}
    assert boosts("dog\tHund", "the dog", (DER, H), ()) == {H: 2.0, UND: 2.0}  # begun before this decision
    assert boosts("dog\tHund", "the dog", (DER,), (H, UND)) == {}
    assert boosts("dog\tHund", "the dog and a dog", (DER, H, UND), (EIN,)) == {H: 2.0}
    assert boosts("dog\tHund", "the cat", (), ()) == {}
    assert boosts("dog\tKatze", "the dog", (), ()) == {}  # the vocabulary cannot write it


def test_a_term_waits_for_its_turn() -> None:
    late = "one two three four five six seven dog"  # word 7: from 0.7 * 7 - 3 = 1.9 words on
    assert boosts("dog\tHund", late, (DER,), ()) == {}
    assert boosts("dog\tHund", late, (DER,), (EIN,)) == {H: 2.0}


def test_inflected_forms_are_said_already() -> None:
    assert times_said("Haus", "die häuser, das haus und hauses") == 2
    assert times_said("犬", "大きな犬と犬", spaced=False) == 2


def test_terms_are_compared_by_what_they_say() -> None:
    assert parse_glossary("dog\tHund", where="one") == parse_glossary("dog\tHund", where="other")
    assert Term(source="dog", target="Hund") in parse_glossary("dog\tHund").terms
