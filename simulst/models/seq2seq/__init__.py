"""Encoder-decoders of speech that encode a window of audio again: Whisper, Moonshine, Seamless, S2T."""
