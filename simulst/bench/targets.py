"""One stream in several targets, compared with each target in a stream of its own."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulst.bundled import bundled_path, talk
from simulst.cli import options

if TYPE_CHECKING:
    from simulst.core.loaded import LoadedPolicy
    from simulst.core.translator import FloatArray, Translator


def targets(
    targets: Annotated[str, typer.Argument(help="Languages to write side by side.", metavar="CODE,CODE")] = "de,en",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each way is run, in turn.", metavar="N")] = 4,
    seconds: Annotated[float, typer.Option(min=1, help="Length of the stream.", metavar="S")] = 30.0,
    policy: options.Policy = options.DEFAULT_POLICY,
    model: options.Model = options.DEFAULT_MODEL,
    audio: Annotated[
        Path | None, typer.Option(parser=bundled_path, help="Speech to translate (default: the talk).", metavar="FILE")
    ] = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json_: options.Json = False,
) -> None:
    """CPU time of one stream in several targets over that of one target, in turn and in one run; texts are compared."""
    import torch

    from simulst.audio import read_audio
    from simulst.bench.compare import clock_of, in_turn
    from simulst.core.languages import Wanted, choose_targets, side_by_side
    from simulst.models import load_model
    from simulst.policies import load_policy

    torch.set_num_threads(1)
    translator, loaded = load_model(model, device=device, dtype=dtype), load_policy(policy)
    _, pairs = choose_targets({translator.name: translator}, Wanted(), targets.split(","))
    heard = read_audio(audio or talk(), duration_s=seconds)
    alone, together = list[str](), list[str]()
    _translate(side_by_side(translator, pairs[:1]), loaded, heard)  # what is made at the first use is made here

    def one(number: int) -> None:
        alone.extend(_translate(side_by_side(translator, [pairs[number % len(pairs)]]), loaded, heard))

    def several(_: int) -> None:
        together[:] = _translate(side_by_side(translator, pairs), loaded, heard)

    spent = in_turn(one, several, rounds, clock_of(translator))
    found: dict[str, object] = {
        "targets": targets,
        "seconds": seconds,
        "rounds": rounds,
        "load": round(os.getloadavg()[0], 1),
        "cpu_s": {"one": round(spent[0] / rounds, 3), "together": round(spent[1] / rounds, 3)},
        "ratio": round(spent[1] / spent[0], 3),
        "same_text": all(text == together[i % len(pairs)] for i, text in enumerate(alone)),
    }
    print(json.dumps(found) if json_ else "\n".join(f"{key:10} {value}" for key, value in found.items()))


def _translate(models: "list[Translator]", policy: "LoadedPolicy", audio: "FloatArray") -> list[str]:
    """What a stream says in each target."""
    from simulst.core.beside import feed_all, finish_all
    from simulst.core.session import Session

    sessions = [Session(model, policy) for model in models]
    for start in range(0, len(audio), 16_000):
        feed_all(sessions, audio[start : start + 16_000])
    finish_all(sessions)
    return [session.text for session in sessions]
