"""The microphone, through the optional `sounddevice` package."""

import queue
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from simulst.audio.samples import FloatArray
from simulst.audio.stream import AudioStream
from simulst.errors import AudioError

BLOCK_S = 0.05
QUEUE_BLOCKS = 1200
"""One minute; a translator that is slower than speech for that long loses the newest audio, with an error."""


def open_microphone(device: str = "") -> AudioStream:
    """Record until `stop` is called; `device` is a name or number, "" the system's default. Raises AudioError."""
    sounddevice = _sounddevice()
    chosen: str | int | None = int(device) if device.isdigit() else device or None
    try:
        info = sounddevice.query_devices(chosen, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        if device:
            raise AudioError(f"There is no microphone {device!r}: {_first_line(error)}.") from None
        raise AudioError("No microphone was found: connect one, or translate a file or URL instead.") from None
    rate = round(info["default_samplerate"])
    blocks: queue.Queue[FloatArray | None] = queue.Queue(QUEUE_BLOCKS)
    overrun: list[bool] = []

    def record(data: FloatArray, frames: int, time: object, status: object) -> None:
        try:
            blocks.put_nowait(np.array(data, np.float32))
        except queue.Full:
            overrun.append(True)

    try:
        stream = sounddevice.InputStream(
            device=chosen,
            samplerate=rate,
            channels=1,
            dtype="float32",
            blocksize=round(rate * BLOCK_S),
            callback=record,
        )
        stream.start()
    except sounddevice.PortAudioError as error:
        raise AudioError(f"The microphone cannot be opened: {_first_line(error)}.") from None

    def stop() -> None:
        stream.stop()
        blocks.put(None)

    return AudioStream(
        name="the microphone",
        sample_rate=rate,
        channels=1,
        blocks=_blocks(blocks, overrun),
        live=True,
        close=stream.close,
        stop=stop,
    )


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except ImportError:
        raise AudioError("The microphone needs the sounddevice package: pip install 'simulst[mic]'.") from None
    except OSError:
        raise AudioError("The microphone needs the PortAudio library: install libportaudio2 or portaudio.") from None
    package: ModuleType = sounddevice
    return package


def _blocks(blocks: "queue.Queue[FloatArray | None]", overrun: list[bool]) -> Iterator[FloatArray]:
    """Everything recorded since the last block, so that a slow listener can catch up."""
    while (block := blocks.get()) is not None:
        if overrun:
            raise AudioError(
                "The translation fell a minute behind the microphone: use larger chunks or a faster model."
            )
        recorded = [block]
        while not blocks.empty():
            block = blocks.get()
            if block is None:
                break
            recorded.append(block)
        yield np.concatenate(recorded)
        if block is None:
            return


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
