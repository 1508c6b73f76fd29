"""Translators without weights, for tests of policies and of whatever is built on sessions.

`ScriptedTranslator` says what it is told, call by call; `ToyTranslator` hears words in made-up audio (`toy_audio`), so
that its output depends on the source, on the prefix and on what was forgotten.
"""

from simulst.testing.play import play
from simulst.testing.scripted import EVERYTHING, Scripted, ScriptedSession, ScriptedTranslator, ToyVocabulary
from simulst.testing.toy import ToyTranslator, toy_audio, toy_text

__all__ = [
    "EVERYTHING",
    "Scripted",
    "ScriptedSession",
    "ScriptedTranslator",
    "ToyTranslator",
    "ToyVocabulary",
    "play",
    "toy_audio",
    "toy_text",
]
