"""How a speech LLM runs: the options of `load_model`."""

from dataclasses import dataclass
from typing import Literal

from simulst.errors import ModelError
from simulst.models.options import check_options, option


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `load_model`."""

    task: Literal["translate", "transcribe"] = option("translate", "translate the speech or transcribe it")
    encoder: Literal["streaming", "full"] = option(
        "streaming", "full: the encoder hears the whole clip at once, at its end; only to see what streaming costs"
    )
    beams: int = option(1, "beam width of decoding", at_least=1, at_most=32)
    no_repeat_ngram: int = option(5, "no n-gram of this length comes twice; 0: off")
    median_s: float = option(
        0.0, "width of the median filter over alignment frames, in seconds; 0: off", at_least=0, at_most=5
    )
    top_p: float = option(0.9, "probability mass that sampling draws from", above=0, at_most=1)
    temperature: float = option(1.0, "temperature of sampling", above=0)
    positions: Literal["batch", "grouped"] = option(
        "batch", "one count over speech and text, or one for each: then no text is decoded twice"
    )
    cache: Literal["auto", "rebuild", "evict", "none"] = option(
        "auto",
        "what a trim does to cached speech: fill the cache anew (rebuild), or close it up as it is (evict); "
        "auto: evict for streams in turns, rebuild for others; none: nothing is cached from chunk to chunk, as in "
        "systems that re-encode their history, only to see what that costs",
    )
    kernel: Literal["auto", "plain", "onednn"] = option(
        "auto",
        "what multiplies matrices on a CPU: torch's own choice (plain) or oneDNN; auto: the one that is quicker "
        "when the model is loaded, with dtype=int8 also bfloat16 in the encoder; results differ in the last digits",
    )
    graph: Literal["auto", "static", "off"] = option(
        "auto",
        "how single tokens are decoded on a GPU: recorded once as a CUDA graph and played back (auto); off: kernel by "
        "kernel, as on a CPU; static: in the shapes of a graph without recording, anywhere, only to compare",
    )
    base: str | None = option(
        None, "folder or hub name of the decoder that an adapter rests on; none: where it was when it was trained"
    )
    text_weights: bool = option(
        False,
        "translate text with the weights made for nothing else, where the model's folder has them (text.safetensors); "
        "true by default in the text half of a cascade and in text agents",
    )
    heads_file: str | None = option(None, "calibrated heads; none: alignment_heads.json in the model's folder")

    def __post_init__(self) -> None:
        check_options(self)
        if self.cache == "none" and self.positions == "grouped":
            raise ModelError("Grouped positions rest on what is cached; leave out cache=none or positions=grouped.")
