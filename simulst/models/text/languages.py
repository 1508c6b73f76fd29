"""Names of languages, as instructions to a language model and the prefixes of T5 say them."""

from simulst.core.languages import Pair

_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip

_LONG = {
    "ar": "arb", "bg": "bul", "ca": "cat", "cs": "ces", "da": "dan", "de": "deu", "el": "ell", "en": "eng",
    "es": "spa", "et": "est", "fa": "pes", "fi": "fin", "fr": "fra", "he": "heb", "hi": "hin", "hr": "hrv",
    "hu": "hun", "id": "ind", "it": "ita", "ja": "jpn", "ko": "kor", "lt": "lit", "lv": "lvs", "nl": "nld",
    "no": "nob", "pl": "pol", "pt": "por", "ro": "ron", "ru": "rus", "sk": "slk", "sl": "slv", "sr": "srp",
    "sv": "swe", "sw": "swh", "ta": "tam", "th": "tha", "tr": "tur", "uk": "ukr", "vi": "vie", "zh": "zho",
}  # fmt: skip
_SHORT = {long: short for short, long in _LONG.items()}
_UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo", "zho", "cmn", "jpn", "tha", "mya", "khm"})
_UNSPACED_NAMES = frozenset({"chinese", "japanese", "thai", "lao", "burmese", "khmer"})


def language_name(language: str) -> str:
    """The English name of a language code; what is no code of the table stays as it is (`Swiss German`)."""
    return _NAMES.get(language.lower(), language)


def long_code(language: str) -> str:
    """The code of three letters for one of two; any other stays as it is."""
    return _LONG.get(language, language)


def short_code(language: str) -> str:
    """The code of two letters for one of three; any other stays as it is."""
    return _SHORT.get(language, language)


def is_spaced(language: str) -> bool:
    """Whether the language, a code such as ja, ja_XX or jpn_Jpan or a name, puts spaces between words."""
    code = language.lower().replace("-", "_").split("_")[0]
    return code not in _UNSPACED and language.lower() not in _UNSPACED_NAMES


def pairs_into_all(source: str, target: str) -> tuple[Pair, ...]:
    """From one language into every one of the table: of models that are asked by its name; `target` first."""
    others = [code for code in _NAMES if code not in (source, target)]
    return tuple(Pair(source=source, target=code) for code in (target, *others))
