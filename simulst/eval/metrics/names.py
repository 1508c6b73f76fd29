"""Units of the scores by name."""

_RATIOS = frozenset({"AP", "RTF", "ComputeRTF", "CpuRTF", "NE", "COMET", "PositionsPerToken"})
_POINTS = frozenset({"BLEU", "chrF2", "chrF2++"})
_PERCENT = frozenset({"SWF", "EFSW", "DSPTV", "AnticipatedWords", "WrongAnticipations"})


def unit_of(metric: str) -> str:
    """ "ms", "%", "units", or "" for points and ratios."""
    stem = metric.split("_")[0].removeprefix("Stream").removeprefix("Long")
    if stem in _RATIOS or stem in _POINTS:
        return ""
    if stem in _PERCENT:
        return "%"
    return "units" if stem == "NumChunks" else "ms"
