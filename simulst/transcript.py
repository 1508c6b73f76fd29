"""Keeping the transcript of audio that a session forgets."""


def lost_words(before: str, after: str) -> str:
    """The words at the beginning of one transcript that a later one, of less audio, no longer has."""
    old, new = before.split(), after.split()
    for start in range(len(old)):
        if old[start:] == new[: len(old) - start]:
            return "".join(" " + word for word in old[:start])
    kept = max(0, len(old) - len(new))
    return "".join(" " + word for word in old[:kept])
