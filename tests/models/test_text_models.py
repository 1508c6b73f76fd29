"""Text models against the library itself: decoding, log-probabilities and rows over source words, on random weights."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulst import Session, load_model, load_policy
from simulst.core.translator import Draw, Evidence, Hypothesis, Query
from simulst.errors import ModelError, SimulstError
from simulst.models import describe_model
from simulst.models.cascade import Cascade
from simulst.models.halves import Options as CascadeOptions
from simulst.models.text.causal_lm import CausalLM
from simulst.models.text.encoder_decoder import EncoderDecoder
from simulst.models.text.words import words_of_pieces, words_of_spans
from simulst.policies import POLICIES
from simulst.testing import ToyTranslator, toy_audio
from simulst.testing.text_checkpoints import CHATML, tiny_causal, tiny_marian, tiny_nllb, tiny_t5

ALIGNED = frozenset({Evidence.ALIGNMENT, Evidence.LOGPROBS})
EACH = ALIGNED | {Evidence.ALIGNMENT_HEADS}
WORDS = ("the", "cat", "sat", "home")

Make = Callable[[Path], Path]
TRANSLATORS: dict[str, tuple[Make, dict[str, Any]]] = {
    "marian": (tiny_marian, {}),
    "marian of many": (lambda path: tiny_marian(path, targets=("deu", "fra")), {"target": "fra"}),
    "nllb": (tiny_nllb, {"source": "en", "target": "deu_Latn"}),
    "t5": (tiny_t5, {"target": "fr"}),
    "madlad": (lambda path: tiny_t5(path, targets=("de", "fr")), {}),
}
SPEAKERS: dict[str, tuple[Make, dict[str, Any]]] = {
    "llama": (tiny_causal, {}),
    **{
        kind: (partial(tiny_causal, kind=kind), {})
        for kind in ("gemma", "gemma3_text", "granite", "mistral", "olmo2", "phi3", "smollm3")
    },
    "qwen2": (lambda path: tiny_causal(path, kind="qwen2", template=None), {}),
    "qwen3": (lambda path: tiny_causal(path, kind="qwen3"), {"prompt": "few_shot"}),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    kept: dict[str, tuple[Any, Path]] = {}

    def load(kind: str) -> tuple[Any, Path]:
        if kind not in kept:
            make, options = (TRANSLATORS | SPEAKERS)[kind]
            directory = make(tmp_path_factory.mktemp("text") / kind.split()[0])
            kept[kind] = load_model(directory, no_repeat_ngram=0, **options), directory
        return kept[kind]

    return load


def asked(model: Any, prefix: tuple[int, ...], query: Query) -> list[Hypothesis]:
    session = model.open()
    session.extend_text(WORDS)
    found: list[Hypothesis] = session.hypothesise(prefix, query)
    return found


def reference(model: Any, directory: Path, ids: list[int]) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """The library's scores [ids, vocabulary], attention [heads, ids, keys] by layer, and which key is which word."""
    run, prompt = model.run(" ".join(WORDS), rows=True, every_head=False)
    given = torch.tensor([[*prompt, *ids]])
    if isinstance(model, CausalLM):
        from transformers import AutoModelForCausalLM

        eager = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager").eval()
        with torch.no_grad():
            output = eager(input_ids=given, output_attentions=True)
        attention = output.attentions
    else:
        from transformers import AutoModelForSeq2SeqLM

        eager = AutoModelForSeq2SeqLM.from_pretrained(directory, attn_implementation="eager").eval()
        source = model.tokenizer(model.told.before + " ".join(WORDS), return_tensors="pt")
        with torch.no_grad():
            output = eager(**source, decoder_input_ids=given, output_attentions=True)
        attention = output.cross_attentions
    first = len(prompt) - 1
    return output.logits[0, first:], [one[0, :, first:] for one in attention], run._columns


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*TRANSLATORS, *SPEAKERS])
def test_ids_log_probabilities_and_rows_are_the_librarys(loaded: Callable[[str], Any], kind: str) -> None:
    model, directory = loaded(kind)
    first = asked(model, (), Query(max_new=7, want=EACH))[0]
    prefix = first.ids[:3]
    found = asked(model, prefix, Query(max_new=4, want=EACH))[0]
    assert len(found.ids) == 4 and found.ids == first.ids[3:7]
    scores, attention, columns = reference(model, directory, [*prefix, *found.ids])
    if isinstance(model, CausalLM):
        scores[:, model.vocabulary.eos] = scores[:, model.ends].logsumexp(-1)
    log_probs = scores.masked_fill(model.suppress, -torch.inf).log_softmax(-1)
    assert tuple(log_probs[3:7].argmax(-1).tolist()) == found.ids
    expected = [float(log_probs[3 + i, token]) for i, token in enumerate(found.ids)]
    assert found.logprobs == pytest.approx(expected, abs=1e-4)
    assert found.alignment is not None and found.alignment.heads is not None
    rows = torch.stack([attention[layer][head] for layer, head in model.rows.heads])[:, :7, : len(columns)] @ columns
    assert found.alignment.weights.shape == (7, len(WORDS)) and found.alignment.history == 3
    assert np.abs(found.alignment.heads - rows.numpy()).max() < 1e-4
    assert np.abs(found.alignment.weights - rows.mean(0).numpy()).max() < 1e-4
    assert columns.sum(0).min() >= 1, "every word has tokens"


@pytest.mark.parametrize("kind", ["marian of many", "nllb", "t5"])
def test_a_beam_search_and_greedy_end_where_generate_ends(loaded: Callable[[str], Any], kind: str) -> None:
    model, directory = loaded(kind)
    from transformers import AutoModelForSeq2SeqLM

    eager = AutoModelForSeq2SeqLM.from_pretrained(directory, attn_implementation="eager").eval()
    source = model.tokenizer(model.told.before + " ".join(WORDS), return_tensors="pt")
    prompt = torch.tensor([model.run("a", rows=False, every_head=False)[1]])
    banned = [i for i, no in enumerate(model.suppress.tolist()) if no]
    told = {"decoder_input_ids": prompt, "max_new_tokens": 8, "suppress_tokens": banned, "do_sample": False}
    expected = eager.generate(**source, num_beams=1, **told)[0, prompt.shape[1] :].tolist()
    assert list(asked(model, (), Query(max_new=8))[0].ids) == [i for i in expected if i != model.vocabulary.eos]
    drawn = asked(model, (), Query(max_new=8, n_best=3, want=ALIGNED))
    assert len({one.ids for one in drawn}) == 3 and drawn[0].score >= drawn[1].score >= drawn[2].score
    again = asked(model, drawn[1].ids[:2], Query(max_new=8, want=ALIGNED))[0]
    assert again.alignment is not None and drawn[1].alignment is not None
    same = min(len(again.ids) + 2, len(drawn[1].ids), 3)
    assert np.abs(again.alignment.weights[:same] - drawn[1].alignment.weights[:same]).max() < 1e-4


def test_the_languages_reach_the_model(loaded: Callable[[str], Any]) -> None:
    many, nllb, t5, madlad = (loaded(kind)[0] for kind in ("marian of many", "nllb", "t5", "madlad"))
    assert many.told.before == ">>fra<< " and madlad.told.before == "<2de> "
    assert t5.told.before == "translate English to French: "
    assert nllb.told.forced == nllb.tokenizer.convert_tokens_to_ids("deu_Latn")
    assert nllb.tokenizer("a").input_ids[0] == nllb.tokenizer.convert_tokens_to_ids("eng_Latn")
    assert not nllb.vocabulary.decode([nllb.told.forced])


@pytest.mark.parametrize(
    ("kind", "option", "sentence"),
    [
        ("marian of many", "xx", "does not know the target language 'xx'; it knows: deu, fra."),
        ("madlad", "xx", "does not know the target language 'xx'; it knows: de, fr."),
        ("nllb", "zh", "does not know the target language 'zh'; it knows: zho_Hans, zho_Hant."),
    ],
)
def test_a_language_that_is_not_there_is_a_sentence(
    loaded: Callable[[str], Any], kind: str, option: str, sentence: str
) -> None:
    source = {"source": "eng"} if kind == "nllb" else {}
    with pytest.raises(ModelError) as refused:
        load_model(loaded(kind)[1], target=option, **source)
    assert str(refused.value).endswith(sentence)


def test_what_ends_an_answer_is_added_up(loaded: Callable[[str], Any]) -> None:
    model = loaded("llama")[0]
    assert model.vocabulary.piece(10 + 3) == b"\n" and 13 in model.ends.tolist() and model.suppress[13]
    assert set(model.ends.tolist()) >= {2, 13} and not model.suppress[2]


def test_a_chat_template_that_cannot_carry_a_begun_answer_is_refused(tmp_path: Path) -> None:
    sealed = tiny_causal(tmp_path / "sealed", template=CHATML.split("{% if")[0])
    with pytest.raises(ModelError, match=r"sealed has no place for a begun answer; use prompt=few_shot\.$"):
        load_model(sealed)
    assert load_model(sealed, prompt="few_shot").prompts.render("a b") == "English: a b\nGerman:"  # type: ignore[attr-defined]
    broken = tiny_causal(tmp_path / "broken", template="{{ raise_exception('no users here') }}")
    with pytest.raises(ModelError, match=r"^The chat template of broken fails: no users here; use prompt=few_shot\.$"):
        load_model(broken)


def test_examples_stand_before_the_text(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("Good morning.\tGuten Morgen.\n\nThanks.\tDanke.\n", encoding="utf-8")
    directory = tiny_causal(tmp_path / "lm")
    model = load_model(directory, prompt="few_shot", examples=str(pairs))
    assert isinstance(model, CausalLM)
    assert model.prompts.render("Hi").startswith("English: Good morning.\nGerman: Guten Morgen.\n\nEnglish: Thanks.")
    assert load_model(directory, examples=str(pairs)).prompts.render("Hi").count("<|im_start|>") == 6  # type: ignore[attr-defined]
    pairs.write_text("one\n")
    with pytest.raises(ModelError, match=r"pairs\.tsv, example 1: give SOURCE<TAB>TRANSLATION on each line\.$"):
        load_model(directory, examples=str(pairs))


def test_words_of_tokens() -> None:
    pieces = [None, "\u2581translate", ":", "\u2581the", "\u2581c", "at", "\u2581sat", None]
    assert words_of_pieces(pieces, 3) == [None, None, None, 0, 1, 1, 2, None]
    assert words_of_pieces([">>de<<", "\u2581a", "b"], 1) == [None, 0, 0]
    assert words_of_pieces(["a", "b", "\u2581c"], 2) == [0, 0, 1]
    spans = [(0, 3), (3, 5), (5, 6), (6, 9), (9, 9), (9, 10)]
    assert words_of_spans(spans, "ab cde", 3) == [None, 0, 1, 1, None, None]


def test_a_text_model_names_the_way_to_audio(loaded: Callable[[str], Any]) -> None:
    model, directory = loaded("marian")
    assert isinstance(model, EncoderDecoder)
    with pytest.raises(ModelError, match=r"takes words, not audio; put a recogniser before it"):
        model.open().extend_source(np.zeros(100, dtype=np.float32))
    assert Evidence.ALIGNMENT in describe_model(directory).provides
    with pytest.raises(ModelError, match=r"translates and does not go on with a source text; name a causal model"):
        model.text_side().continue_source("a", Draw(n=1, max_tokens=2))


@pytest.mark.slow
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_runs_on_a_cascade_of_it_or_refuses_in_a_sentence(
    loaded: Callable[[str], Any], policy: str
) -> None:
    for kind in ("marian", "llama"):
        model = Cascade(ToyTranslator(), loaded(kind)[0], name=f"toy+{kind}", options=CascadeOptions())
        try:
            session = Session(model, load_policy(policy), chunk_ms=640)
            for piece in np.array_split(toy_audio([5, 17, 31, 2]), 2):
                session.feed(piece)
            session.finish()
        except SimulstError as refused:
            lacks = load_policy(policy).policy.needs() - model.provides
            assert (lacks and "does not provide" in str(refused)) or "does not go on with a source" in str(refused)
        else:
            assert load_policy(policy).policy.needs() <= model.provides and session.text
