"""`simulst serve-simulstream`: models and policies for the harness of simulstream."""

from typing import Annotated

import typer

from simulst.cli import options
from simulst.cli.threads import processors
from simulst.errors import SimulstError

Host = Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 opens it to the network.")]
Port = Annotated[int, typer.Option(help="Port to serve at; 0 takes a free one.")]
Sessions = Annotated[int, typer.Option(help="Streams at a time.")]
TtlS = Annotated[float, typer.Option(help="Seconds without a request after which a stream is forgotten.")]


def serve_simulstream(
    host: Host = "127.0.0.1",
    port: Port = 8766,
    model: options.Model = options.DEFAULT_MODEL,
    policy: options.Policy = options.DEFAULT_POLICY,
    set_: options.Set = None,
    chunk_ms: options.ChunkMs = None,
    sessions: Sessions = 8,
    ttl_s: TtlS = 300.0,
    device: options.Device = "cpu",
    dtype: options.Dtype = None,
    glossary: options.Glossary = None,
    glossary_boost: options.GlossaryBoost = options.DEFAULT_BOOST,
) -> None:
    """Answer simulstream's HTTP processor protocol until Ctrl-C: its harness drives this model and policy.

    docs/live.md has the configuration for the other side. Everybody who reaches the address can use it.
    """
    import asyncio

    from simulst.live.catalogue import load_catalogue
    from simulst.live.simulstream import serve_simulstream as serve

    if not (sessions >= 1 and ttl_s > 0 and 0 <= port < 65536):
        raise SimulstError("--sessions must be at least 1, --ttl-s above 0, --port from 0 to 65535.")
    terms = options.glossary_of(glossary, glossary_boost)
    workers = min(sessions, processors())
    _one_thread_each(workers)
    catalogue = load_catalogue(
        model, policy=policy, settings=set_ or [], chunk_ms=chunk_ms, device=device, dtype=dtype, glossary=terms
    )
    asyncio.run(serve(catalogue, host=host, port=port, sessions=sessions, ttl_s=ttl_s, workers=workers, ready=_greet))


def _one_thread_each(workers: int) -> None:
    import torch

    torch.set_num_threads(max(1, processors() // workers))


def _greet(address: str) -> None:
    print(f"simulstream's HTTP processor at {address}/  (Ctrl-C to stop)", flush=True)
