"""OpenAI's `/v1/audio/translations` and `/v1/audio/transcriptions`: a posted recording becomes a stream."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.datastructures import MultipleValuesError

from simulst.audio.files import open_file
from simulst.audio.samples import SAMPLE_RATE
from simulst.errors import AudioError
from simulst.live.http import Exchange, Gone, Refusal
from simulst.live.hub import Hub, Place
from simulst.live.openai.answers import FORMATS, KINDS, StreamedText, answer
from simulst.live.openai.errors import body_of, refusal_of
from simulst.live.openai.form import Form, read_form
from simulst.live.protocol import ProtocolError, read_hello
from simulst.live.subscriber import Subscriber
from simulst.live.web import Web

log = logging.getLogger(__name__)

MAX_UPLOAD_BYTES = 25 << 20
"""As OpenAI's own."""
TASKS = {"/v1/audio/translations": "translate", "/v1/audio/transcriptions": "transcribe"}


class Owner:
    """The request that a stream belongs to."""

    def __init__(self) -> None:
        self._main = asyncio.current_task()
        self.dismissal: ProtocolError | None = None

    def dismiss(self, error: ProtocolError) -> None:
        self.dismissal = error
        if self._main is not None:
            self._main.cancel()

    async def part(self, error: ProtocolError, within_s: float) -> None:
        """The stream was translated to its end: let the answer be sent."""
        if self._main is not None:
            await asyncio.wait({self._main}, timeout=within_s)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a form asks for."""

    task: str
    form: Form
    audio: bytes

    @property
    def format(self) -> str:
        return self.form.text("response_format") or "json"

    @property
    def streamed(self) -> bool:
        return (self.form.text("stream") or "").lower() in ("true", "1")

    @property
    def words(self) -> bool:
        """Whether times of words are wanted."""
        return "word" in self.form.fields.get("timestamp_granularities", [])

    def hello(self) -> dict[str, object]:
        """The stream as our protocol asks for it; a translation is what the model does unless languages are named."""
        form = self.form
        message: dict[str, object] = {"source": form.text("language"), "target": form.text("target")}
        if self.task == "transcribe":
            message |= {"task": self.task}
        message |= {key: form.text(key) for key in ("model", "policy")} | {"append_only": self.streamed}
        message["glossary"] = form.text("glossary") or form.files.get("glossary", b"").decode("utf-8", "replace")
        return {"version": 1, "sample_rate": SAMPLE_RATE, "format": "f32le", "pace": "file", **message}


class Uploads:
    """Serves every request that posts."""

    def __init__(self, hub: Hub, web: Web) -> None:
        self._hub, self._web = hub, web
        self._busy = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(reader, writer, patience_s=self._hub.limits.send_s)
        try:
            await self._answer(exchange)
        except Refusal as refusal:
            self._hub.metrics.count("refused_total", label=f'code="{refusal.code}"')
            with contextlib.suppress(Gone):
                await self._refuse(exchange, refusal)
        except Gone:
            self._hub.metrics.count("refused_total", label='code="gone"')
        except Exception:
            log.exception("a request failed")
            with contextlib.suppress(Gone):
                sentence = "The server failed; its log tells why."
                await self._refuse(exchange, Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", sentence))
        await exchange.close()

    async def _answer(self, exchange: Exchange) -> None:
        await exchange.head()
        path = exchange.path.partition("?")[0]
        try:
            refused = self._web.refusal(exchange.headers, secret=path in TASKS)
            kind = exchange.headers.get("Content-Type", "")
        except (MultipleValuesError, ValueError):
            raise Refusal(HTTPStatus.BAD_REQUEST, "bad_request", "The request cannot be understood.") from None
        if refused is not None:
            raise Refusal(*refused)
        if path not in TASKS:
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "bad_method", "Only GET is served.")
        with self._place_for(exchange):
            form = read_form(kind, await exchange.body(MAX_UPLOAD_BYTES))
            await self._serve(exchange, _checked(TASKS[path], form))

    @contextlib.contextmanager
    def _place_for(self, exchange: Exchange) -> Iterator[None]:
        """Room for one more recording in memory."""
        if self._hub.closing:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down", "The server is shutting down.")
        if self._busy >= self._hub.limits.max_clients or not self._web.crowd.admit(exchange.number):
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Too many requests; try again in a moment.")
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    async def _serve(self, exchange: Exchange, request: Request) -> None:
        """Translate and answer; a client that goes away ends it."""
        work = asyncio.create_task(self._work(exchange, request))
        gone = asyncio.create_task(exchange.left())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Gone
            work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.wait({work, gone})

    async def _work(self, exchange: Exchange, request: Request) -> None:
        owner, place = Owner(), None
        try:
            place = await self._hub.open(read_hello(request.hello()), owner)
            if request.streamed:
                await self._stream(exchange, request, place)
            else:
                await self._whole(exchange, request, place)
        except ProtocolError as error:
            raise refusal_of(error) from None
        except asyncio.CancelledError:
            if owner.dismissal is None:
                raise
            raise refusal_of(owner.dismissal) from None
        finally:
            if place is not None:
                self._hub.release(place, owner)

    async def _whole(self, exchange: Exchange, request: Request, place: Place) -> None:
        writes: list[dict[str, object]] = []

        async def take(message: dict[str, object]) -> None:
            if message["type"] == "write":
                writes.append(message)

        await self._translate(request, place, take)
        body, kind = answer(request.format, place, task=request.task, writes=writes if request.words else None)
        await exchange.answer(HTTPStatus.OK, body, self._web.headers(kind, exchange.headers))

    async def _stream(self, exchange: Exchange, request: Request, place: Place) -> None:
        """Server-sent events, one for every change of the text."""
        headers = self._web.headers(KINDS["stream"], exchange.headers)
        await exchange.begin(HTTPStatus.OK, [(name, value) for name, value in headers if name != "Content-Length"])
        text = StreamedText()

        async def take(message: dict[str, object]) -> None:
            await exchange.send(text.event(message))

        await self._translate(request, place, take)
        await exchange.send(text.done(place))
        await exchange.end()

    async def _translate(
        self, request: Request, place: Place, take: Callable[[dict[str, object]], Awaitable[None]]
    ) -> None:
        """Push the recording and hand on the stream's events. Raises ProtocolError and Refusal."""
        pushing = asyncio.create_task(_push(request.audio, place))
        subscriber = Subscriber(place.stream, place.tracks())
        try:
            while batch := await subscriber.take():
                for text in batch:
                    await take(json.loads(text))
            if place.stream.error is not None:
                raise place.stream.error
            await pushing
        finally:
            subscriber.close()
            pushing.cancel()
            await asyncio.wait({pushing})

    async def _refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Say why; within a stream of events as one of them."""
        body = body_of(refusal.code, str(refusal), refusal.status)
        if exchange.begun:
            await exchange.send(b"data: " + body + b"\n\n")
            await exchange.end()
            return
        if exchange.path.partition("?")[0] not in TASKS:
            body = json.dumps({"type": "error", "code": refusal.code, "message": str(refusal)}).encode()
        await exchange.answer(refusal.status, body, self._web.headers("application/json", exchange.headers))


def _checked(task: str, form: Form) -> Request:
    if not form.files.get("file"):
        raise Refusal(HTTPStatus.BAD_REQUEST, "bad_form", "The form needs the audio as its part 'file'.")
    request = Request(task=task, form=form, audio=form.files["file"])
    if request.format not in FORMATS:
        sentence = f"response_format must be one of {', '.join(FORMATS)}, not {request.format[:40]!r}."
        raise Refusal(HTTPStatus.BAD_REQUEST, "bad_value", sentence)
    return request


async def _push(audio: bytes, place: Place) -> None:
    """Decode the recording and give it to the stream, and its end whatever happens. Raises Refusal."""
    with TemporaryDirectory(prefix="simulst-") as folder:
        path = Path(folder) / "recording"
        try:
            await asyncio.to_thread(path.write_bytes, audio)
            stream = await asyncio.to_thread(open_file, path)
            with stream:
                blocks = iter(stream)
                while (block := await asyncio.to_thread(next, blocks, None)) is not None:
                    await place.stream.push(block.tobytes())
        except AudioError as error:
            sentence = str(error).replace(str(path), "The file")
            raise Refusal(HTTPStatus.BAD_REQUEST, "bad_audio", sentence) from None
        finally:
            place.stream.end()
