"""`simulst live`: subtitles in the browser, or with --terminal in the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from simulst.cli import options
from simulst.cli.threads import processors
from simulst.errors import SimulstError

if TYPE_CHECKING:
    import ssl

    from simulst.core.translator import Translator


def live(
    source: Annotated[str, typer.Argument(help="With --terminal: what to listen to.", metavar="[SRC]")] = "mic",
    host: Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 opens it to the network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve at; 0 takes a free one.")] = 8765,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Model on offer; repeatable, the first is the default.", metavar="NAME|DIR"),
    ] = None,
    policy: options.Policy = options.DEFAULT_POLICY,
    set_: options.Set = None,
    chunk_ms: options.ChunkMs = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Show SRC in this terminal; no server.")] = False,
    max_clients: Annotated[int, typer.Option(help="Streams at a time; others are told to wait.")] = 8,
    idle_s: Annotated[float, typer.Option(help="Seconds of nothing after which a connection is closed.")] = 60.0,
    workers: Annotated[int, typer.Option(help="Threads for the models; 0: one per core.")] = 0,
    batch: Annotated[
        int, typer.Option(help="Streams decoded in one forward at most: for a GPU or a crowded server.")
    ] = 1,
    token: Annotated[str, typer.Option(help="Secret that clients must give.", envvar="SIMULST_TOKEN")] = "",
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Another site whose pages may connect; repeatable.", metavar="URL")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM) to serve https.", metavar="FILE")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).", metavar="FILE")] = None,
    device: options.Device = "cpu",
) -> None:
    """Serve a page with live subtitles, and the websocket behind it, until Ctrl-C.

    Browsers give microphones to localhost and to https pages only; for other machines use --tls-cert and --tls-key.
    """
    models = list(dict.fromkeys(model or [options.DEFAULT_MODEL]))
    if terminal:
        from simulst.cli.translate import translate

        translate(source, model=models[0], policy=policy, set_=set_, chunk_ms=chunk_ms, device=device)
        return
    import asyncio

    from simulst.chosen import load_policy_with, read_settings
    from simulst.live.catalogue import Catalogue
    from simulst.live.hub import Limits
    from simulst.live.server import serve_live
    from simulst.live.together import Together, alone
    from simulst.live.web import Access, site
    from simulst.models import load_model

    if max_clients < 1 or idle_s <= 0 or not 0 <= port < 65536 or workers < 0 or batch < 1:
        raise SimulstError(
            "--max-clients, --idle-s and --batch must be above 0, --port from 0 to 65535, --workers 0 or more."
        )
    access = Access(host=host, token=token, origins=tuple(map(site, allow_origin or ())))
    tls = _tls(tls_cert, tls_key)
    settings = read_settings(set_ or [], policy=policy, model=models[0])
    loaded = load_policy_with(policy, settings, chunk_ms)
    threads = max(workers or processors(), batch)
    _one_thread_each(threads if batch == 1 else 1)
    offered: dict[str, Translator] = {
        _public_name(name): load_model(name, device=device, **(settings.model if name == models[0] else {}))
        for name in models
    }
    together = Together(offered, streams=batch) if batch > 1 else None
    asyncio.run(
        serve_live(
            Catalogue(together.models if together else offered, loaded),
            port=port,
            access=access,
            limits=Limits(max_clients=max_clients, idle_s=idle_s),
            workers=threads,
            beside=together or alone,
            tls=tls,
            ready=lambda address: _greet(address, access.local or bool(token), token),
        )
    )


def _public_name(model: str) -> str:
    """What clients are told: of a directory its last part only."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def _one_thread_each(workers: int) -> None:
    """Several models at work share the cores instead of fighting for them."""
    import torch

    torch.set_num_threads(max(1, processors() // workers))


def _greet(address: str, protected: bool, token: str) -> None:
    secret = f"#token={quote(token, safe='')}" if token else ""
    print(f"Live subtitles at {address}/{secret}  (Ctrl-C to stop)", flush=True)
    if not protected:
        print("Everybody who reaches this address can use it; --token TEXT asks for a secret.", flush=True)


def _tls(certificate: Path | None, key: Path | None) -> "ssl.SSLContext | None":
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise SimulstError("https needs both --tls-cert and --tls-key.")
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SimulstError(f"{certificate} and {key} are no usable certificate and key: {error}.") from None
    return context
