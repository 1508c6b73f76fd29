"""What the log says of a checkpoint about hearing: word errors of CTC."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from simulst.models.speech_llm.network import load_weights, read_config
from simulst.testing.speech_llm import SENTENCES, make_tiny_speech_llm
from simulst.training.heard import word_error_rate, words_heard
from simulst.training.pieces import read_pieces
from simulst.training.recipe import read_recipe
from simulst.training.run import run_recipe

RECIPE = """
name = "tiny"
work = "work"
threads = 1
device = "cpu"
dtype = "float32"
[data]
train = "pairs.tsv"
dev = "pairs.tsv"
voices = {}
dev_voices = {}
scored = 1
[model]
encoder = ""
start = "start"
[text]
steps = 2
positions = 160
checkpoint_steps = 2
"""


class Same(nn.Module):
    """A projector that changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(1, 1)  # tells the device

    def forward(self, stacked: Tensor) -> Tensor:
        return stacked


def test_words_left_out_put_in_and_replaced_are_errors() -> None:
    said = ["The big black dog runs.", "Yes!", "I'm here"]
    assert word_error_rate(["the black dog", "", "I'm here"], said) == pytest.approx(100 * 3 / 8)
    assert word_error_rate(["the bag big black dog ran", "yes", "I'M HERE"], said) == pytest.approx(100 * 2 / 8)
    assert word_error_rate([""], [""]) == 0


def test_the_path_is_read_without_blanks_and_repetitions(tmp_path: Path) -> None:
    make_tiny_speech_llm(tmp_path)
    model, pieces = load_weights(tmp_path, read_config(tmp_path)), read_pieces(tmp_path / "vocabulary.model")
    blank = pieces.piece_to_id("<blank>")
    ids = pieces.encode(SENTENCES[0])
    path = [blank, *(token for one in ids for token in (one, one, blank)), blank]
    weights = nn.functional.normalize(model.embeddings.detach(), dim=-1)
    model.decoder.get_input_embeddings().weight.data.copy_(weights)
    model.projector = Same()  # type: ignore[assignment]
    assert words_heard(model, weights[path], pieces, blank) == SENTENCES[0]


def test_the_log_tells_the_word_errors_of_every_set_that_there_is(tmp_path: Path) -> None:
    make_tiny_speech_llm(tmp_path / "start")
    (tmp_path / "pairs.tsv").write_text(f"{SENTENCES[0]}\t{SENTENCES[2]}\n")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    work = tmp_path / "work"
    for name in ("unseen", "people"):
        (work / f"dev_{name}").mkdir(parents=True)
        vectors = torch.randn(30, 128).to(torch.bfloat16).view(torch.uint16).numpy()
        (work / f"dev_{name}" / "vectors.bf16").write_bytes(vectors.tobytes())
        talk = {"first": 0, "count": 30, "voice": "v", "sentences": [[0, 2.0, 25.0]]}
        (work / f"dev_{name}" / "talks.jsonl").write_text(json.dumps(talk) + "\n")
    (work / "devspeech_people.txt").write_text("BUT NOW THEY COULD TELL\n")
    shutil.copy(tmp_path / "start" / "vocabulary.model", work)
    run_recipe(read_recipe(tmp_path / "recipe.toml"), "text")
    record = json.loads((work / "text" / "log.jsonl").read_text().splitlines()[-1])
    assert {name for name in record if name.startswith("wer_")} == {"wer_unseen", "wer_people"}
    assert record["wer_people"] > 50
