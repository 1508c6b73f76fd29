"""Write `text.safetensors` into a model's folder: what training on text alone changed in its decoder.

python examples/make_text_weights.py simulst/models/tiny-en-de work/text/decoder.pt --share 0.85

Of several checkpoints the mean is taken. The share is that of the checkpoints; the rest is the model as it is.
"""

import argparse
import sys
from pathlib import Path

from simulst.cli import answered
from simulst.models.speech_llm.text_weights import save_text_weights
from simulst.training.averaging import averaged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("checkpoint", type=Path, nargs="+")
    parser.add_argument("--share", type=float, default=1.0)
    given = parser.parse_args()
    save_text_weights(given.model, averaged(dict.fromkeys(given.checkpoint, 1.0)), given.share)


if __name__ == "__main__":
    sys.exit(answered(main))
