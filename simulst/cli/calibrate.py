"""`simulst calibrate MODEL --data DATA`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from simulst.cli import options


def calibrate(
    model: Annotated[str, typer.Argument(help="Name, local directory or hub name.", metavar="MODEL")],
    data: Annotated[Path, typer.Option(help="Folder of clips, list of audio files, or manifest (.jsonl).")],
    output: Annotated[
        Path | None, typer.Option(help="Where to store the heads (default: in the model's folder).")
    ] = None,
    top: Annotated[int, typer.Option(help="Maximum number of heads to keep.", min=1, max=256)] = 8,
    limit: Annotated[int, typer.Option(help="Maximum number of examples to use.", min=1)] = 50,
    join: Annotated[int, typer.Option(help="Clips that are joined into one example.", min=2, max=16)] = 4,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Find the heads that need only the first and newest entries instead.")
    ] = False,
    share: Annotated[float, typer.Option(help="Share of the heads that --streaming chooses.", min=0, max=1)] = 0.5,
    settings: options.Set = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    json_: options.Json = False,
) -> None:
    """Find the attention heads that follow the source and store them where the model looks for them."""
    from simulst.cli.threads import one_thread_per_stream
    from simulst.errors import SimulstError
    from simulst.models import load_model
    from simulst.training.calibration import calibrate as choose
    from simulst.training.calibration import default_path, write_heads
    from simulst.training.streaming_heads import choose_streaming_heads, streaming_path

    chosen: dict[str, str] = {}
    for pair in settings or []:
        key, separator, value = pair.partition("=")
        if not separator:
            raise SimulstError(f"--set takes KEY=VALUE, not {pair!r}.")
        chosen[key] = value
    one_thread_per_stream()
    loaded = load_model(model, device=device, dtype=dtype, **chosen)
    if streaming:
        costs = choose_streaming_heads(loaded, data, share=share, join=join, limit=limit)
        path = output or streaming_path(loaded)
        write_heads(costs, path)
        print(json.dumps({**costs.to_json(), "file": str(path)}, indent=1) if json_ else costs.text(path))
        return
    found = choose(loaded, data, join=join, limit=limit, top=top)
    path = output or default_path(loaded)
    write_heads(found, path)
    if json_:
        print(json.dumps({**found.to_json(), "file": str(path)}, indent=1))
        return
    for (layer, head), score in zip(found.heads, found.scores, strict=True):
        print(f"layer {layer:2d}  head {head:2d}  score {score:.3f}")
    judged = f"({found.tokens} tokens, {found.examples} examples)"
    print(f"their mean          score {found.mean_score:.3f}  order {found.mean_order:.3f}  {judged}")
    print(f"stored in {path}")
