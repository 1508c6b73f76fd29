"""examples/make_distilled.py: candidates of beam search, the one nearest to a reference, and lines that go on."""

from pathlib import Path
from types import ModuleType

import pytest

from simulst.errors import DataError, SimulstError
from simulst.models.speech_llm.network import SpeechLLM, load_weights, read_config
from simulst.plugins import module_from_file
from simulst.training.greedy import translate_texts, translations
from simulst.training.pretrained import pieces_of
from simulst.training.recipe import Recipe, read_recipe
from simulst.training.run import run_recipe

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "simulst" / "models" / "tiny-en-de"
PAIRS = {
    "Good morning.": ["Guten Morgen.", "Morgen!"],
    "He is a teacher at a school in our town.": ["Er ist Lehrer an einer Schule in unserer Stadt."],
    "We have bread and milk.": ["Wir haben Brot und Milch."],
    "She went home.": ["Sie ging nach Hause.", "Sie ist nach Hause gegangen."],
}


@pytest.fixture(scope="module")
def made() -> ModuleType:
    return module_from_file(ROOT / "examples" / "make_distilled.py", what="example", error=SimulstError)


@pytest.fixture(scope="module")
def model() -> SpeechLLM:
    return load_weights(MODEL, read_config(MODEL), for_text=True).eval()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "train.tsv").write_text("".join(f"{one}\t{to}\n" for one, own in PAIRS.items() for to in own))
    text = (
        "name = 'small'\nwork = 'work'\nthreads = 1\ndevice = 'cpu'\n[data]\ntrain = 'train.tsv'\ndev = 'train.tsv'\n"
        "voices = {espeak-en-us = 1}\ndev_voices = {espeak-en-gb = 1}\n"
        f"[model]\nencoder = 'tiny-en-de'\nstart = '{MODEL}'\n"
    )
    (tmp_path / "recipe.toml").write_text(text)
    return read_recipe(tmp_path / "recipe.toml")


def test_the_candidates_of_a_sentence_are_its_best_first(recipe: Recipe, model: SpeechLLM) -> None:
    with pytest.raises(DataError, match=r"work holds no vocabulary; run the stage vocabulary\.$"):
        pieces_of(recipe)
    run_recipe(recipe, "vocabulary")
    vocabulary = pieces_of(recipe)
    marks, sentences = recipe.marks(vocabulary), list(PAIRS)
    found = translations(model, sentences, vocabulary, marks, beams=4, candidates=4)
    assert [one[0] for one in found] == translate_texts(model, sentences, vocabulary, marks, beams=4)
    assert all(len(set(one)) == 4 for one in found)
    alone = translations(model, sentences[1:2], vocabulary, marks, beams=4, candidates=4)
    assert alone == found[1:2], "a sentence is translated the same beside others"


def test_the_candidate_nearest_to_any_reference_is_taken(made: ModuleType) -> None:
    assert made.line("Hi", ["Tag", "Hallo", "Hallo du"], ["Guten Tag", "Hallo"]) == "Hi\tHallo\t1.00\n"
    assert made.line("Hi", ["a\tb", "c"], ["a b"]).split("\t")[1] == "a b", "a tab would end the column"
    assert made.line("Hi", ["xyz"], ["Hallo"]) == "Hi\txyz\t0.00\n"


def test_lines_that_were_stopped_go_on_to_the_same_file(
    made: ModuleType, recipe: Recipe, model: SpeechLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_recipe(recipe, "vocabulary")
    monkeypatch.setattr(made, "PORTION", 2)
    sentences = made.chosen(recipe, 4, 30)
    assert set(sentences) == set(PAIRS) and sentences["Good morning."] == PAIRS["Good morning."]
    assert "He is a teacher at a school in our town." not in made.chosen(recipe, 4, 6)
    made.write_distilled(recipe, model, sentences, tmp_path / "whole.tsv")
    whole = (tmp_path / "whole.tsv").read_text()
    first, *_ = lines = whole.splitlines(keepends=True)
    assert [one.split("\t")[0] for one in lines] == list(sentences)
    assert all(float(one.split("\t")[2]) > 0.3 for one in lines), "the model knows such sentences"
    (tmp_path / "torn.tsv").write_text(first + lines[1][:7])
    made.write_distilled(recipe, model, sentences, tmp_path / "torn.tsv")
    assert (tmp_path / "torn.tsv").read_text() == whole
