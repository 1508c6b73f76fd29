"""The options of all agents, and what they mean together with SimulEval's own."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from simulst.chosen import load_policy_with, read_settings
from simulst.core.translator import Translator
from simulst.defaults import DEFAULT_MODEL
from simulst.errors import SimulstError
from simulst.policies import LoadedPolicy, load_policy

logger = logging.getLogger("simulst.agents")

TEXT_PARAMETERS: dict[str, dict[str, str]] = {"WaitK": {"words": "adaptive", "strict": "false"}}
"""By class of policy: with text the source's words are there, not estimated by the clock, and the last one is whole."""


def add_options(parser: argparse.ArgumentParser, policy: str) -> None:
    """No name may be a prefix of an option of SimulEval, whose first parser would mistake it for that option."""
    group = parser.add_argument_group("simulst")
    group.add_argument("--model", default=DEFAULT_MODEL, help="Model: name, local directory or hub name.")
    group.add_argument("--model-dtype", default=None, help="As --dtype of simulst (default: as --dtype says).")
    group.add_argument("--policy", default=policy, help=f"Preset instead of {policy}: a name or a .toml file.")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Policy parameter, history key or model option; repeatable.",
    )
    group.add_argument(
        "--chunk-ms", type=int, default=None, help="Audio per decision (default: --source-segment-size)."
    )
    group.add_argument("--threads", type=int, default=1, help="Threads of the model.")


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """What the options say."""

    model: str = DEFAULT_MODEL
    policy: LoadedPolicy
    options: dict[str, str] = field(default_factory=dict)
    chunk_ms: int | None = None
    """None: the policy's own."""
    dtype: str | None = None
    threads: int = 1
    spm_model: str | None = None
    """SentencePiece model of --eval-latency-unit spm, in whose pieces text must be written."""

    @classmethod
    def from_args(cls, args: argparse.Namespace | None, policy: str, *, source: str) -> "AgentSettings":
        """Raises SimulstError, one sentence, for what cannot be used. `source` is speech or text."""
        given = vars(args) if args is not None else {}
        model, name = given.get("model") or DEFAULT_MODEL, given.get("policy") or policy
        settings = read_settings(given.get("set") or [], policy=name, model=model)
        if source == "text":
            from simulst.models import options_for_text

            kind = type(load_policy(name).policy).__name__
            settings.policy.update({**TEXT_PARAMETERS.get(kind, {}), **settings.policy})
            settings.model.update({**options_for_text(model), **settings.model})
        loaded = load_policy_with(name, settings)
        spm = given.get("eval_latency_spm_model") if given.get("eval_latency_unit") == "spm" else None
        return cls(
            model=model,
            policy=loaded,
            options=settings.model,
            chunk_ms=_chunk_ms(given, loaded) if source == "speech" else None,
            dtype=given.get("model_dtype") or _harness_dtype(given),
            threads=max(1, given.get("threads") or 1),
            spm_model=spm,
        )

    def load(self, device: str, dtype: str | None) -> Translator:
        """The model on `device`."""
        from simulst.models import load_model

        precision = {} if dtype is None else {"dtype": dtype}
        model = load_model(self.model, device=device, **precision, **self.options)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.threads)
        return model


def make_splitter(settings: AgentSettings) -> Callable[[str], str]:
    """What is done to text before it is written: nothing, or pieces between spaces where latency counts pieces."""
    if settings.spm_model is None:
        return str
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=settings.spm_model)
    return lambda text: " ".join(processor.encode(text, out_type=str))


@contextmanager
def one_sentence() -> Iterator[None]:
    """Within SimulEval's command line: what the user can fix is one sentence on stderr and exit status 2."""
    try:
        yield
    except SimulstError as error:
        print(f"simulst: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _harness_dtype(given: Mapping[str, object]) -> str | None:
    half = given.get("dtype") == "fp16" or given.get("fp16")
    return "float16" if half else None


def _chunk_ms(given: Mapping[str, int | None], policy: LoadedPolicy) -> int | None:
    """--chunk-ms, else the harness's segment (whose default of 1 ms means nothing), else the policy's own chunk."""
    if (chosen := given.get("chunk_ms")) is not None:
        return int(chosen)
    segment = given.get("source_segment_size") or 1
    if segment <= 1:
        return None
    if segment != policy.chunk_ms:
        logger.info("A decision every %d ms (--source-segment-size); %s has %d.", segment, policy.name, policy.chunk_ms)
    return int(segment)
