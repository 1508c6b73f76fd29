"""What commands take where nothing else is said: the model, the policy, and how strongly terms are favoured."""

DEFAULT_MODEL = "tiny-en-de"
MODEL_FOR_PEOPLE = "tiny-en+tiny-en-de"
"""Where people speak, whom its recogniser understands: twice the work, and fewer policies fit it."""
DTYPE_FOR_PEOPLE = "auto"
"""Where no model is named either: bytes on a CPU, in which the weights lie on disk and which is quicker."""
DEFAULT_POLICY = "stream_att"
DEFAULT_BOOST = 9.0
"""Added to the logits of tokens of a glossary's terms."""
