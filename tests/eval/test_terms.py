"""TERM_ACC: what counts as a term, and what the score is without a list."""

from pathlib import Path

import pytest

from simulst.core.glossary import Term, parse_glossary
from simulst.errors import SimulstError
from simulst.eval.logs.instances import Instance
from simulst.eval.metrics.metric import Texts
from simulst.eval.metrics.terms import term_accuracy
from simulst.eval.score.inputs import report_instances

TERMS = parse_glossary("dog\tHund\nNew York\tNeu York\nriver\tFluss").terms


def counted(hypothesis: str, reference: str, source: str = "", terms: tuple[Term, ...] = TERMS) -> list[int]:
    texts = Texts(hypotheses=[hypothesis], references=[reference], sources=[source] if source else None, terms=terms)
    found = term_accuracy(texts)
    assert found is not None
    right, wanted = found.rows[0].tolist()
    return [right, wanted]


def test_whole_words_count_as_often_as_they_are_wanted() -> None:
    assert counted("Der hund, ein Hund.", "Hund und Hund am Fluss") == [2, 3]
    assert counted("Hund Hund Hund", "ein Hund") == [1, 1]
    assert counted("Hunde und ein Hundehaus", "ein Hund") == [0, 1]
    assert counted("in neu\u00a0york", "Neu York") == [1, 1]
    assert counted("Hund", "Katze") == [0, 0]


def test_where_the_source_is_known_the_term_must_be_in_it() -> None:
    assert counted("Hund Fluss", "Hund Fluss", "the dog at the water") == [1, 1]


def test_terms_of_scripts_without_spaces_stand_anywhere() -> None:
    assert counted("大きな犬です", "犬がいる", terms=(Term(source="dog", target="犬"),)) == [1, 1]


def lines() -> list[Instance]:
    said = [("Ein Hund.", "Ein Hund am Fluss."), ("Nichts.", "Ein Hund."), ("Neu York", "Neu York")]
    return [Instance(index=i, source="", prediction=a, reference=b) for i, (a, b) in enumerate(said)]


def test_the_score_is_a_share_with_a_signature_and_an_interval(tmp_path: Path) -> None:
    (tmp_path / "terms.tsv").write_text("dog\tHund\nNew York\tNeu York\nriver\tFluss\n", encoding="utf-8")
    report = report_instances(lines(), terms=str(tmp_path / "terms.tsv"))
    assert report.scores["TERM_ACC"] == 50.0
    assert "|case:no|in:reference|" in report.signatures["TERM_ACC"]
    assert report.sample().scores()["TERM_ACC"] == 50.0
    assert "TERM_ACC" not in report_instances(lines()).scores


def test_a_list_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "terms.tsv").write_text("dog Hund\n")
    with pytest.raises(SimulstError, match=r"terms.tsv, line 1: write the source, one tab and the target\.$"):
        report_instances(lines(), terms=str(tmp_path / "terms.tsv"))
