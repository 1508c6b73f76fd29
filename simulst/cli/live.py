"""`simulst live`: subtitles in the browser, or with --terminal in the terminal."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from simulst.chosen import usual_model
from simulst.cli import options
from simulst.cli.threads import processors
from simulst.core.memory import share_one_heap
from simulst.errors import DeviceLostError, SimulstError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine

    from simulst.core.glossary import Glossary
    from simulst.core.translator import Translator
    from simulst.live.captions import Captions
    from simulst.live.catalogue import Catalogue
    from simulst.live.together import Beside


LEAST_SILENCE_S = 1.0

Source = Annotated[str, typer.Argument(help="With --terminal: what to listen to.", metavar="[SRC]")]
Host = Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 opens it to the network.")]
Port = Annotated[int, typer.Option(help="Port to serve at; 0 takes a free one.")]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="Model on offer, with options of its own; repeatable, the first is the default. Without it "
        f"{options.MODEL_FOR_PEOPLE} and {options.DEFAULT_MODEL}.",
        metavar="NAME|DIR[:KEY=VALUE,..]",
    ),
]
Terminal = Annotated[bool, typer.Option("--terminal", help="Show SRC in this terminal; no server.")]
MaxClients = Annotated[int, typer.Option(help="Streams at a time; others are told to wait.")]
IdleS = Annotated[float, typer.Option(help="Seconds without a message after which a connection is closed.")]
Workers = Annotated[int, typer.Option(help="Threads for the models; 0: one per core.")]
Batch = Annotated[
    int, typer.Option(help="Maximum number of streams decoded in one forward pass: for a GPU or a busy server.")
]
PauseSilence = Annotated[
    float, typer.Option(help="Pause decoding after so many seconds of silence; 0: never.", metavar="S")
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
    pause_silence: PauseSilence = 0.0,
    caption: options.Caption = None,
    glossary: options.Glossary = None,
    glossary_boost: options.GlossaryBoost = options.DEFAULT_BOOST,
    device: options.Device = "cpu",
    dtype: options.UsualDtype = None,
) -> None:
    """Serve a page with live subtitles, and the websocket behind it, until Ctrl-C.

    Browsers give microphones to localhost and to https pages only; for other machines use --tls-cert and --tls-key.
    """
    dtype = dtype or (None if model else options.DTYPE_FOR_PEOPLE)
    models = list(dict.fromkeys(model or [usual_model([policy], set_ or []), *options.BUNDLED]))
    if terminal:
        from simulst.cli.translate import translate

        first, set_ = _first(models[0], set_ or [])
        shown = partial(translate, source, first, policy, set_, chunk_ms, device=device, dtype=dtype)
        return shown(caption=caption, glossary=glossary, glossary_boost=glossary_boost)
    from simulst.live.access import Access, site
    from simulst.live.hub import Limits
    from simulst.live.server import serve_live

    _check(max_clients >= 1 and idle_s > 0 and 0 <= port < 65536 and workers >= 0 and batch >= 1)
    _check_rest(pause_silence)
    captions = _captions(caption or [])
    access = Access(host=host, token=token, origins=tuple(map(site, allow_origin or ())))
    limits = Limits(max_clients=max_clients, idle_s=idle_s, silence_s=pause_silence)
    tls = _tls(tls_cert, tls_key)
    threads = max(workers or processors(), batch)
    share_one_heap()
    _one_thread_each(threads if batch == 1 else 1)
    terms = options.glossary_of(glossary, glossary_boost)
    catalogue, beside = _catalogue(models, set_ or [], policy, chunk_ms, terms, batch, device=device, dtype=dtype)
    ready = partial(_greet, protected=access.local or bool(token), token=token)
    serve = partial(serve_live, catalogue, beside=beside, captions=captions, tls=tls, ready=ready)
    _until_stopped(serve(port=port, access=access, limits=limits, workers=threads))


def _until_stopped(served: "Coroutine[None, None, None]") -> None:
    """Serve; where the device of the models is lost, this process is replaced by a new one of the same command."""
    import asyncio

    try:
        asyncio.run(served)
    except DeviceLostError as error:
        print(f"simulst: {error} It is started again now.", file=sys.stderr, flush=True)
        os.execv(sys.executable, [sys.executable, "-m", "simulst", *sys.argv[1:]])


def _captions(specs: list[str]) -> "Captions":
    from simulst.live.captions import Captions

    return Captions(specs, lambda sentence: print(f"simulst: {sentence}", file=sys.stderr, flush=True))


def _catalogue(
    models: list[str],
    set_: list[str],
    policy: str,
    chunk_ms: int | None,
    terms: "Glossary | None",
    batch: int,
    *,
    device: str,
    dtype: str | None,
) -> "tuple[Catalogue, Beside]":
    """What is served, and how streams are computed beside each other."""
    from simulst.chosen import load_policy_with, read_settings
    from simulst.live.catalogue import Catalogue
    from simulst.live.together import Together, alone

    first, set_ = _first(models[0], set_)
    settings = read_settings(set_, policy=policy, model=first)
    loaded = load_policy_with(policy, settings, chunk_ms)
    offered = _offered(models, settings.model, device=device, dtype=dtype)
    if batch == 1:
        return Catalogue(offered, loaded, terms), alone
    together = Together(offered, streams=batch)
    return Catalogue(together.models, loaded, terms), together


def _check(within: bool) -> None:
    if not within:
        raise SimulstError(
            "--max-clients, --idle-s and --batch must be above 0, --port from 0 to 65535, --workers 0 or more."
        )


def _check_rest(pause_silence: float) -> None:
    if not (pause_silence == 0 or LEAST_SILENCE_S <= pause_silence <= 3600):
        raise SimulstError(f"--pause-silence must be 0, or from {LEAST_SILENCE_S:g} to 3600 seconds.")


def _first(spec: str, set_: list[str]) -> tuple[str, list[str]]:
    """The name of the first model, and the settings with its options."""
    name, own = _with_options(spec)
    return name, [*(f"model.{pair}" for pair in own), *set_]


def _with_options(spec: str) -> tuple[str, list[str]]:
    """The name of a model and its `KEY=VALUE`s, from NAME:KEY=VALUE,KEY=VALUE."""
    name, colon, pairs = spec.rpartition(":")
    return (name, pairs.split(",")) if colon and name and "=" in pairs else (spec, [])


def _offered(
    specs: list[str], options_of_first: dict[str, str], *, device: str, dtype: str | None
) -> "dict[str, Translator]":
    """The models by the names that clients are told; a second one of the same name is told apart by its options."""
    from simulst.models import load_model

    offered: dict[str, Translator] = {}
    for spec in specs:
        name, pairs = _with_options(spec)
        chosen = options_of_first if spec == specs[0] else _read_options(spec, pairs)
        public = _public_name(name)
        if public in offered:
            public = f"{public}:{','.join(pairs)}" if pairs else name
        if public in offered:
            raise SimulstError(f"--model {spec} is offered already; leave one of the two out.")
        offered[public] = load_model(name, device=device, dtype=dtype, **chosen)
    return offered


def _read_options(spec: str, pairs: list[str]) -> dict[str, str]:
    found = dict[str, str]()
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise SimulstError(f"--model {spec}: {pair!r} is no KEY=VALUE; write NAME:KEY=VALUE,KEY=VALUE.")
        found[key] = value
    return found


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
