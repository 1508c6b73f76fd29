"""`simulst bench gpu`: what tokens and chunks cost on a GPU in batches, and how many streams it carries."""

import json
import os
import time
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import typer

from simulst.bench.gpu_costs import Carried, Together, carried, settled, together
from simulst.cli import options
from simulst.defaults import DEFAULT_MODEL
from simulst.errors import SimulstError

if TYPE_CHECKING:
    import torch

    from simulst.core.translator import Translator
    from simulst.models.speech_llm.options import Options
    from simulst.models.speech_llm.translator import SpeechLLMTranslator

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "7b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
}
KEY_VALUE_HEADS = {"tiny": 4, "1b": 8, "7b": 8}


class Figures(TypedDict):
    """What the benchmark prints."""

    device: str
    torch: str
    cuda: str | None
    dtype: str
    model: str
    parameters_m: float
    load: float
    load_s: float
    warm_s: float
    together: list[Together]
    carried: list[Carried]
    most_streams: int


def random_llama(shape: str, device: "torch.device", dtype: "torch.dtype", options: "Options") -> "SpeechLLMTranslator":
    """The embedded model's encoder and vocabulary with a Llama of random weights, which is built on the device."""
    import torch

    from simulst.models.registry import locate
    from simulst.models.speech_llm.arithmetic import Arithmetic
    from simulst.models.speech_llm.network import SpeechLLM, read_config
    from simulst.models.speech_llm.translator import SpeechLLMTranslator
    from simulst.models.speech_llm.vocabulary import VOCABULARY_FILE, SentencePieceVocabulary
    from simulst.models.speech_llm.weights import Weights

    directory = locate(DEFAULT_MODEL).directory
    config = read_config(directory)
    config.decoder.update(SHAPES[shape] | {"num_key_value_heads": KEY_VALUE_HEADS[shape]})
    usual = torch.get_default_dtype()
    torch.manual_seed(0)
    try:
        torch.set_default_dtype(dtype)
        with torch.device(device):
            model = SpeechLLM(config)
    finally:
        torch.set_default_dtype(usual)
    vocabulary = SentencePieceVocabulary(directory / VOCABULARY_FILE)
    middle = [(SHAPES[shape]["num_hidden_layers"] // 2, head) for head in range(4)]
    frozen = model.eval().requires_grad_(False)
    weights = Weights(frozen, vocabulary, options=options, heads=middle, arithmetic=Arithmetic())
    return SpeechLLMTranslator(weights, name=f"llama-{shape} of random weights", directory=directory)


def gpu(
    model: options.Model = options.DEFAULT_MODEL,
    random: Annotated[
        Literal["tiny", "1b", "7b"] | None,
        typer.Option(help="Instead of a model: the embedded encoder and a Llama of random weights of this size."),
    ] = None,
    policy: options.Policy = options.DEFAULT_POLICY,
    set_: options.Set = None,
    streams: Annotated[
        str, typer.Option(help="Streams that are computed together, with commas between them.", metavar="N,..")
    ] = "1,8,32,128",
    most: Annotated[
        int, typer.Option(min=0, help="Most streams that are tried at the pace of speech; 0: none.", metavar="N")
    ] = 1024,
    seconds: Annotated[float, typer.Option(min=1, help="Audio of each stream.", metavar="S")] = 15.0,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens that each stream decodes.", metavar="N")] = 40,
    chunk_ms: options.ChunkMs = None,
    device: options.Device = "cuda",
    dtype: options.Dtype = None,
    json_: options.Json = False,
) -> None:
    """Costs of tokens and chunks by the number of streams, and the most streams whose chunks come in time."""
    import torch

    from simulst.bench.stream import speech
    from simulst.chosen import load_policy_with, read_settings
    from simulst.models.checkpoint import torch_device

    sizes = _sizes(streams)
    where = torch_device(device)
    settings = read_settings(set_ or [], policy=policy, model=model)
    loaded, talk = load_policy_with(policy, settings), speech(None, 60)
    translator, load_s, warm_s = _loaded(model, random, where, dtype, settings.model)
    parameters = sum(one.numel() for one in translator.weights.model.parameters())
    figures = Figures(
        device=torch.cuda.get_device_name(where) if where.type == "cuda" else str(where),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        dtype=str(translator.weights.model.embeddings.dtype).removeprefix("torch."),
        model=translator.name,
        parameters_m=round(parameters / 1e6, 1),
        load=round(os.getloadavg()[0], 1),
        load_s=load_s,
        warm_s=warm_s,
        together=[together(translator, where, talk, streams=n, seconds=seconds, tokens=tokens) for n in sizes],
        carried=[],
        most_streams=0,
    )
    count = 1
    while count <= most:
        one = carried(translator, loaded, chunk_ms, talk, streams=count, seconds=seconds)
        figures["carried"].append(one)
        if not one["in_time"]:
            break
        figures["most_streams"], count = count, 2 * count
    print(json.dumps(figures) if json_ else "\n".join(_lines(figures)))


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(one) for one in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise SimulstError(f"--streams is {text!r}; it must be whole numbers above 0 such as 1,8,32.")
    return sizes


def _loaded(
    name: str, random: str | None, where: "torch.device", dtype: str | None, chosen: dict[str, str]
) -> "tuple[SpeechLLMTranslator, float, float]":
    """The model, and the seconds that loading and its first work took."""
    from simulst.models.precision import choose_precision
    from simulst.models.registry import locate
    from simulst.models.speech_llm.translator import SpeechLLMTranslator
    from simulst.models.warm import warm

    began = time.perf_counter()
    model: Translator
    place = locate(name if random is None else DEFAULT_MODEL)
    family = place.family()
    read = family.read(chosen, owner=place.name)
    if random is not None:
        model = random_llama(random, where, choose_precision(dtype, where).dtype, read)
    else:
        model = family.load(place.directory, read, name=place.name, device=str(where), dtype=dtype)
    if not isinstance(model, SpeechLLMTranslator):
        raise SimulstError(f"bench gpu measures speech LLMs, and {name} is none; bench stream --batch takes Whisper.")
    loaded = settled(where)
    warm(model)
    return model, round(loaded - began, 2), round(settled(where) - loaded, 2)


def _lines(found: Figures) -> list[str]:
    cuda = f", CUDA {found['cuda']}" if found["cuda"] else ""
    lines = [
        f"{found['device']}, torch {found['torch']}{cuda}, {found['dtype']}, machine load {found['load']}",
        f"{found['model']}: {found['parameters_m']} M parameters, loaded in {found['load_s']} s, warm in "
        f"{found['warm_s']} s",
        f"{'streams':>8}{'ms a chunk':>12}{'ms a token':>12}{'tokens/s':>10}{'MB a stream':>13}{'same text':>11}",
    ]
    for row in found["together"]:
        memory = "" if row["mb_per_stream"] is None else row["mb_per_stream"]
        cost = f"{row['streams']:>8}{row['ms_per_chunk']:>12}{row['ms_per_token']:>12}{row['tokens_per_s']:>10}"
        lines.append(f"{cost}{memory:>13}{row['same_share']:>11}")
    if found["carried"]:
        lines.append(f"{'streams':>8}{'lag ms p50':>12}{'p95':>8}{'p99':>8}   in time")
    for one in found["carried"]:
        lags = f"{one['lag_p50_ms']:>12}{one['lag_p95_ms']:>8}{one['lag_p99_ms']:>8}"
        lines.append(f"{one['streams']:>8}{lags}   {'yes' if one['in_time'] else 'no'}")
    return [*lines, f"most streams whose chunks come in time (p95): {found['most_streams']}"]
