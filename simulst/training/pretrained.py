"""The pretrained decoder of a recipe: its tokenizer with marks, its description, and the model that is built on it.

The stage `vocabulary` notes in `base.json` which weights the run rests on; with others it does not go on.
"""

import json
from dataclasses import replace
from pathlib import Path

from simulst.errors import DataError
from simulst.models.checkpoint import read_json
from simulst.models.fingerprint import fingerprint_of_weights
from simulst.models.speech_llm.base import Base, describe_base, find_base, load_adapted, tokenizer_of
from simulst.models.speech_llm.network import EncoderConfig, SpeechLLM, SpeechLLMConfig, read_config
from simulst.models.speech_llm.vocabulary import VOCABULARY_FILE, TokenizerVocabulary, add_marks
from simulst.models.vocabulary import TOKENIZER_FILE
from simulst.outputs import write_text
from simulst.training.pieces import Pieces, TokenizerPieces, read_pieces
from simulst.training.recipe import Recipe
from simulst.training.vocabulary import language_mark, marks

BASE_FILE = "base.json"


def begin(recipe: Recipe, decoder: str) -> None:
    """Write the decoder's tokenizer with the marks of the recipe's languages, and `base.json`. Raises ModelError."""
    name = recipe.place(decoder)
    directory = find_base(name)
    described = describe_base(directory)
    wanted = marks(recipe.data.source, recipe.data.target)
    content, first = add_marks(tokenizer_of(directory), wanted, f"The tokenizer of {decoder}")
    base = Base(name=name, weights=fingerprint_of_weights(directory), first_mark=first, marks=len(wanted))
    described["vocab_size"] = max(int(str(described["vocab_size"])), first + len(wanted))
    write_text(recipe.folder / TOKENIZER_FILE, content)
    write_text(recipe.folder / BASE_FILE, json.dumps({"base": base.to_dict(), "decoder": described}, indent=1))


def _noted(folder: Path) -> SpeechLLMConfig:
    """What `base.json` says."""
    if not (folder / BASE_FILE).is_file():
        raise DataError(f"{folder} holds no vocabulary of a pretrained decoder; run the stage vocabulary.")
    values = read_json(folder / BASE_FILE)
    return SpeechLLMConfig(decoder=values["decoder"], base=Base.from_dict(values["base"]))


def pieces_of(recipe: Recipe) -> Pieces:
    """The vocabulary that the stage `vocabulary` left."""
    path = recipe.folder / VOCABULARY_FILE
    if path.is_file():
        return read_pieces(path)
    if not (recipe.folder / TOKENIZER_FILE).is_file():
        raise DataError(f"{recipe.folder} holds no vocabulary; run the stage vocabulary.")
    decoder = read_config(recipe.path(recipe.model.start)).decoder if recipe.model.start else None
    decoder = decoder or _noted(recipe.folder).decoder
    end, size = int(decoder["eos_token_id"]), int(decoder["vocab_size"])
    return TokenizerPieces(TokenizerVocabulary(recipe.folder / TOKENIZER_FILE, eos=end, size=size))


def adapted_model(recipe: Recipe, decoder: str, encoder: EncoderConfig) -> SpeechLLM:
    """A pretrained decoder with a new projector, marks and additions to its layers. Raises ModelError."""
    noted = _noted(recipe.folder)
    assert noted.base is not None
    data, base = recipe.data, replace(noted.base, lora=recipe.model.lora)
    config = replace(
        noted,
        base=base,
        encoder=encoder,
        stack=encoder.frame_multiple,
        languages={code: language_mark(code) for code in (data.source, data.target)},
        source=data.source,
        target=data.target,
    )
    directory, size = find_base(recipe.place(decoder)), int(noted.decoder["vocab_size"])
    return SpeechLLM(config, load_adapted(directory, base, size, dtype=recipe.model.decoder_dtype))
