"""How a speech LLM runs: the options of `load_model`."""

from dataclasses import dataclass
from typing import Literal

from simulst.errors import ModelError
from simulst.models.options import option


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `load_model`."""

    task: Literal["translate", "transcribe"] = option("translate", "translate the speech or transcribe it")
    encoder: Literal["streaming", "full"] = option(
        "streaming", "full: the encoder hears the whole clip at once, at its end; only to see what streaming costs"
    )
    beams: int = option(1, "beam width of decoding")
    no_repeat_ngram: int = option(5, "no n-gram of this length comes twice; 0: off")
    median_s: float = option(0.0, "width of the median filter over alignment frames, in seconds; 0: off")
    top_p: float = option(0.9, "probability mass that sampling draws from")
    temperature: float = option(1.0, "temperature of sampling")
    positions: Literal["batch", "grouped"] = option(
        "batch", "one count over speech and text, or one for each: then no text is decoded twice"
    )
    cache: Literal["auto", "rebuild", "evict", "none"] = option(
        "auto",
        "what a trim does to cached speech: fill the cache anew (rebuild), or close it up as it is (evict); "
        "auto: evict for streams in turns, rebuild for others; none: nothing is cached from chunk to chunk, as in "
        "systems that re-encode their history, only to see what that costs",
    )
    heads_file: str | None = option(None, "calibrated heads; none: alignment_heads.json beside the model")

    def __post_init__(self) -> None:
        if self.beams < 1 or self.beams > 32:
            raise ModelError(f"Option 'beams' must be between 1 and 32, not {self.beams}.")
        if not 0 <= self.median_s <= 5:
            raise ModelError(f"Option 'median_s' must be between 0 and 5, not {self.median_s}.")
        if not 0 < self.top_p <= 1 or not self.temperature > 0:
            raise ModelError("Option 'top_p' must be in (0, 1] and 'temperature' above 0.")
        if self.cache == "none" and self.positions == "grouped":
            raise ModelError("Grouped positions rest on what is cached; leave out cache=none or positions=grouped.")
