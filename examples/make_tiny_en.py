"""Make the bundled recogniser: Moonshine tiny's decoder in a byte a number, on the encoder of tiny-en-de.

python examples/make_tiny_en.py MOONSHINE_FOLDER simulst/models/tiny-en

The folder is UsefulSensors/moonshine-tiny (MIT) in the layout of transformers.
"""

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file

from simulst.models.stored import rounded, save_tensors

ENCODER = "model.encoder."
FOR_FETCHING = ("transformers_version", "dtype", "architectures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tensors = load_file(given.checkpoint / "model.safetensors")
    decoder = {name: one for name, one in tensors.items() if not name.startswith(ENCODER)}
    save_tensors(rounded(decoder), given.out / "model.safetensors")
    config = json.loads((given.checkpoint / "config.json").read_text())
    kept = {key: value for key, value in config.items() if key not in FOR_FETCHING}
    (given.out / "config.json").write_text(json.dumps(kept, indent=2) + "\n")
    tokenizer = json.loads((given.checkpoint / "tokenizer.json").read_text())
    (given.out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")))
    (given.out / "simulst.json").write_text(json.dumps({"type": "moonshine", "encoder": "tiny-en-de"}) + "\n")


if __name__ == "__main__":
    main()
