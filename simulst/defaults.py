"""The model and the policy that commands take where none is named."""

DEFAULT_MODEL = "tiny-en-de"
DEFAULT_POLICY = "stream_att"
