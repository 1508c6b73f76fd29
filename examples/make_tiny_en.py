"""Make the bundled recogniser: Moonshine tiny's decoder in a byte a number, on the encoder of tiny-en-de.

python examples/make_tiny_en.py MOONSHINE_FOLDER simulst/models/tiny-en --english train.tsv.gz --english books.tsv.gz

The folder is UsefulSensors/moonshine-tiny (MIT) in the layout of transformers. Its vocabulary was made for many
languages: of its pieces those stay that the English texts use (the first column of each line), that stand for a byte,
and that such pieces are merged from. Without texts all stay.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from simulst.cli import answered
from simulst.models.stored import rounded, save_tensors
from simulst.training.texts import read_pairs

ENCODER = "model.encoder."
EMBEDDINGS = "model.decoder.embed_tokens.weight"
FOR_FETCHING = ("transformers_version", "dtype", "architectures")
MARKS_AND_BYTES = 3 + 256
"""The first ids: unknown, begin, end; a piece for each byte, of which any text can be made."""
AT_ONCE = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--english", type=Path, action="append", default=[], metavar="TSV")
    parser.add_argument("--least", type=int, default=2, help="times that the texts must use a piece; %(default)s")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tokenizer = json.loads((given.checkpoint / "tokenizer.json").read_text())
    tensors = load_file(given.checkpoint / "model.safetensors")
    config = json.loads((given.checkpoint / "config.json").read_text())
    ids = list(range(int(config["vocab_size"])))
    if given.english:
        ids = kept_ids(tokenizer, used_ids(given.checkpoint / "tokenizer.json", given.english, given.least))
        tokenizer = with_pieces(tokenizer, ids)
    decoder = {name: one for name, one in tensors.items() if not name.startswith(ENCODER)}
    save_tensors(rounded(with_rows(decoder, ids)), given.out / "model.safetensors")
    kept = {key: value for key, value in config.items() if key not in FOR_FETCHING} | {"vocab_size": len(ids)}
    (given.out / "config.json").write_text(json.dumps(kept, indent=2) + "\n")
    (given.out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")))
    (given.out / "simulst.json").write_text(json.dumps({"type": "moonshine", "encoder": "tiny-en-de"}) + "\n")
    print(f"{len(ids)} pieces of {config['vocab_size']}")


def used_ids(tokenizer: Path, texts: Sequence[Path], least: int) -> set[int]:
    """Ids that occur at least so many times in the different sentences of the texts."""
    encoder, counts = Tokenizer.from_file(str(tokenizer)), Counter[int]()
    sentences = list(dict.fromkeys(pair.source for path in texts for pair in read_pairs(path)))
    for at in range(0, len(sentences), AT_ONCE):
        for one in encoder.encode_batch(sentences[at : at + AT_ONCE], add_special_tokens=False):
            counts.update(one.ids)
    return {token for token, count in counts.items() if count >= least}


def kept_ids(tokenizer: dict[str, Any], used: Collection[int]) -> list[int]:
    """Those ids, marks and bytes, and what the pieces are merged from; in their old order."""
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    pieces = {token: piece for piece, token in vocabulary.items()}
    parts: dict[str, tuple[str, str]] = {}
    for left, right in _merges(tokenizer):
        parts.setdefault(left + right, (left, right))
    kept = set(range(MARKS_AND_BYTES)) | set(used)
    left_over = list(kept)
    while left_over:
        new = {vocabulary[part] for part in parts.get(pieces[left_over.pop()], ())} - kept
        kept |= new
        left_over += new
    return sorted(kept)


def with_pieces(tokenizer: dict[str, Any], ids: Sequence[int]) -> dict[str, Any]:
    """The tokenizer with these pieces alone, numbered anew."""
    pieces = {token: piece for piece, token in tokenizer["model"]["vocab"].items()}
    number = {pieces[token]: at for at, token in enumerate(ids)}
    merges = [list(pair) for pair in _merges(tokenizer) if {*pair, "".join(pair)} <= number.keys()]
    marks = [mark for mark in tokenizer["added_tokens"] if mark["content"] in number]
    model = tokenizer["model"] | {"vocab": number, "merges": merges}
    return tokenizer | {"model": model, "added_tokens": [m | {"id": number[m["content"]]} for m in marks]}


def _merges(tokenizer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for pair in tokenizer["model"]["merges"]:
        left, right = pair.split(" ") if isinstance(pair, str) else pair
        yield left, right


def with_rows(tensors: dict[str, Tensor], ids: Sequence[int]) -> dict[str, Tensor]:
    """The tensors with the rows of these pieces alone."""
    return tensors | {EMBEDDINGS: tensors[EMBEDDINGS][torch.tensor(ids)]}


if __name__ == "__main__":
    sys.exit(answered(main))
