"""The joint network of a transducer on a speech LLM (TAED, 2305.03101): blank or the next token, after every block.

The prediction network is the decoder itself, which attends to all speech before a block ends: its state after the
tokens so far, and the mean of the block's speech vectors, meet in z = tanh(A x + B h). Blank has a probability of its
own (HAT, 2003.07705), sigmoid(w . z + b); the rest goes to the tokens, which the decoder's output layer scores after
h + C z. A block is a frame of the lattice, because its vectors arrive together.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from simulst.models.sidecar import load_networks, save_networks

TRANSDUCER_FILE = "transducer.safetensors"
LARGEST = 8192
"""No width of this network is beyond this."""


class JointNetwork(nn.Module):
    """For speech vectors and decoder states of one `width`; `hidden` wide itself."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.speech = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden))
        self.text = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden, bias=False))
        self.blank = nn.Linear(hidden, 1)
        self.change = nn.Linear(hidden, width)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, speech: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Speech [.., width] and states [.., width] -> logit of blank [..] and states for the output layer
        [.., width]."""
        met = torch.tanh(self.speech(speech) + self.text(states))
        return self.blank(met)[..., 0], states + self.change(met)


def save_joint(network: JointNetwork, path: Path) -> None:
    """Write the network in half precision, its sizes and the fingerprint of the folder's weights beside it."""
    save_networks(network, path, key="transducer", sizes={"width": network.width, "hidden": network.hidden})


def load_joint(path: Path, *, width: int) -> JointNetwork:
    """The network of a file, for a decoder of this width; ModelError where it does not fit.

    One warning where it was made for other weights of this width.
    """

    def made(sizes: Mapping[str, object]) -> JointNetwork:
        hidden = sizes["hidden"]
        if sizes["width"] != width:
            raise ValueError(f"it is for states of width {sizes['width']}, not {width}")
        if not isinstance(hidden, int) or not 0 < hidden <= LARGEST:
            raise ValueError(f"its hidden is not from 1 to {LARGEST}")
        return JointNetwork(width, hidden)

    remedy = "`simulst train RECIPE`, whose stage `transducer` writes it"
    return load_networks(path, made, key="transducer", what="a joint network", remedy=remedy)
