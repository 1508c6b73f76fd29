"""Hostile inputs of every kind: valid files, edited so that something in them is wrong.

`python -m simulst.testing.hostile KIND FOLDER --cases N` writes them, each in a folder of its own with the command that
is to refuse or survive it; the tests in tests/fuzz run the same edits, drawn and shrunk by hypothesis.
"""

from simulst.testing.hostile.edits import Edit, edited
from simulst.testing.hostile.seeds import KINDS, Seed, seeds_of

__all__ = ["KINDS", "Edit", "Seed", "edited", "seeds_of"]
