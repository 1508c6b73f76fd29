"""Scoring profiles: each names one published scorer and fixes every choice in which it differs from the others."""

from dataclasses import dataclass
from typing import Literal

from simulst.errors import DataError
from simulst.eval.logs.units import Counting


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How segments are made, counted and timed. docs/metrics.md says where the choices come from."""

    name: str
    reference: str
    """Tool and version whose numbers the profile gives."""
    segmenter: Literal["none", "mwer", "soft"]
    prefix: str
    """Before the names of its latency metrics."""
    counting: Counting
    """How reference units are counted."""
    char_tokens: Literal["characters", "latin-runs"] = "characters"
    """Tokens of the mWER alignment at character level."""
    clamp: bool = False
    """Units emitted before their segment starts count as emitted at its start."""
    repair: Literal["none", "fbk", "omnisteval"] = "none"
    """What is done with cumulative elapsed times."""
    strip_references: bool = True
    spaceless_references: bool = False
    """References lose their spaces at character level, for quality too."""


PROFILES: dict[str, Profile] = {
    "simuleval": Profile(
        name="simuleval",
        reference="SimulEval 1.1.4 (git 536de82)",
        segmenter="none",
        prefix="",
        counting="simuleval",
        strip_references=False,
    ),
    "streamlaal-fbk": Profile(
        name="streamlaal-fbk",
        reference="FBK-fairseq stream_laal.py 2.0 with RWTH mWERSegmenter",
        segmenter="mwer",
        prefix="Stream",
        counting="stripped",
        clamp=True,
        repair="fbk",
    ),
    "streamlaal-simulstream": Profile(
        name="streamlaal-simulstream",
        reference="simulstream 1.0.0 with mweralign 1.4.1",
        segmenter="mwer",
        prefix="Stream",
        counting="no-empty",
        char_tokens="latin-runs",
        repair="omnisteval",
    ),
    "omnisteval": Profile(
        name="omnisteval",
        reference="OmniSTEval 0.1.10",
        segmenter="soft",
        prefix="Long",
        counting="no-spaces",
        repair="omnisteval",
        spaceless_references=True,
    ),
}

OMNISTEVAL_SHORT = Profile(
    name="omnisteval",
    reference="OmniSTEval 0.1.10 (shortform)",
    segmenter="none",
    prefix="",
    counting="stripped",
)


def get_profile(name: str, *, long_form: bool) -> Profile:
    """The profile of that name; "auto" is `simuleval` for segments and `streamlaal-fbk` for recordings."""
    if name == "auto":
        name = "streamlaal-fbk" if long_form else "simuleval"
    if name not in PROFILES:
        raise DataError(f"Unknown profile {name!r}; known: {', '.join(PROFILES)}, auto.")
    if name == "omnisteval" and not long_form:
        return OMNISTEVAL_SHORT
    profile = PROFILES[name]
    if long_form and profile.segmenter == "none":
        raise DataError(
            f"Profile {name} scores one instance per segment and takes no --segmentation; "
            f"use streamlaal-fbk, streamlaal-simulstream or omnisteval."
        )
    if not long_form and profile.segmenter != "none":
        raise DataError(f"Profile {name} resegments recordings; give their segments with --segmentation FILE.yaml.")
    return profile
