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


Source = Annotated[str, typer.Argument(help="With --terminal: what to listen to.", metavar="[SRC]")]
Host = Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 opens it to the network.")]
Port = Annotated[int, typer.Option(help="Port to serve at; 0 takes a free one.")]
Model = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="Model to offer; repeatable, the first is the default.", metavar="NAME|DIR"),
]
Terminal = Annotated[bool, typer.Option("--terminal", help="Show SRC in this terminal; no server.")]
MaxClients = Annotated[int, typer.Option(help="Streams at a time; others are told to wait.")]
IdleS = Annotated[float, typer.Option(help="Seconds without a message after which a connection is closed.")]
Workers = Annotated[int, typer.Option(help="Threads for the models; 0: one per core.")]
Batch = Annotated[
    int, typer.Option(help="Maximum number of streams decoded in one forward pass: for a GPU or a busy server.")
]
Token = Annotated[str, typer.Option(help="Secret that clients must give.", envvar="SIMULST_TOKEN")]
AllowOrigin = Annotated[
    list[str] | None, typer.Option(help="Another site whose pages may connect; repeatable.", metavar="URL")
]
TlsCert = Annotated[Path | None, typer.Option(help="Certificate (PEM) to serve https.", metavar="FILE")]
TlsKey = Annotated[Path | None, typer.Option(help="Its key (PEM).", metavar="FILE")]


def live(
    source: Source = "mic",
    host: Host = "127.0.0.1",
    port: Port = 8765,
    model: Model = None,
    policy: options.Policy = options.DEFAULT_POLICY,
    set_: options.Set = None,
    chunk_ms: options.ChunkMs = None,
    terminal: Terminal = False,
    max_clients: MaxClients = 8,
    idle_s: IdleS = 60.0,
    workers: Workers = 0,
    batch: Batch = 1,
    token: Token = "",
    allow_origin: AllowOrigin = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
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

    _check(max_clients >= 1 and idle_s > 0 and 0 <= port < 65536 and workers >= 0 and batch >= 1)
    access = Access(host=host, token=token, origins=tuple(map(site, allow_origin or ())))
    tls = _tls(tls_cert, tls_key)
    settings = read_settings(set_ or [], policy=policy, model=models[0])
    loaded = load_policy_with(policy, settings, chunk_ms)
    threads = max(workers or processors(), batch)
    _one_thread_each(threads if batch == 1 else 1)
    offered = _offered(models, device, settings.model)
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


def _check(within: bool) -> None:
    if not within:
        raise SimulstError(
            "--max-clients, --idle-s and --batch must be above 0, --port from 0 to 65535, --workers 0 or more."
        )


def _offered(names: list[str], device: str, options_of_first: dict[str, str]) -> "dict[str, Translator]":
    """The models by the names that clients are told."""
    from simulst.models import load_model

    first = names[0]
    return {
        _public_name(name): load_model(name, device=device, **(options_of_first if name == first else {}))
        for name in names
    }


def _public_name(model: str) -> str:
    """What clients are told: of a directory and of a file's family the last part only."""
    if Path(model).is_dir():
        return Path(model).resolve().name
    return Path(model).name if ".py:" in model else model


def _one_thread_each(workers: int) -> None:
    """Several models at work share the cores instead of fighting for them."""
    import torch

    torch.set_num_threads(max(1, processors() // workers))


def _greet(address: str, protected: bool, token: str) -> None:
    secret = f"#token={quote(token, safe='')}" if token else ""
    print(f"Live subtitles at {address}/{secret}  (Ctrl-C to stop)", flush=True)
    if not protected:
        print("Everybody who can reach this address can use it; --token TEXT asks for a secret.", flush=True)


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
        raise SimulstError(f"{certificate} and {key} cannot be used as certificate and key: {error}.") from None
    return context
