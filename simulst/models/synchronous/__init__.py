"""Recognisers that decide themselves when to write: as every frame of the audio is heard, once, with a cache."""
