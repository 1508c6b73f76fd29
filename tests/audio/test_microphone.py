"""The microphone with a stand-in for the sounddevice package: no test machine is sure to have one."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from simulst.audio import open_audio
from simulst.errors import AudioError


class PortAudioError(Exception):
    pass


def fake(monkeypatch: pytest.MonkeyPatch, blocks: int) -> ModuleType:
    """A sounddevice with one 48 kHz microphone that delivers `blocks` blocks as soon as it is started."""
    module: Any = ModuleType("sounddevice")

    class InputStream:
        def __init__(self, *, blocksize: int, callback: Any, **_: Any) -> None:
            self.blocksize, self.callback = blocksize, callback

        def start(self) -> None:
            for _ in range(blocks):
                self.callback(np.full((self.blocksize, 1), 0.25, np.float32), self.blocksize, None, None)

        def stop(self) -> None: ...
        def close(self) -> None: ...

    def query_devices(device: str | int | None, kind: str) -> dict[str, float]:
        if device not in (None, 1):
            raise ValueError(f"No input device matching {device!r}")
        return {"default_samplerate": 48_000.0}

    module.InputStream, module.query_devices, module.PortAudioError = InputStream, query_devices, PortAudioError
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module  # type: ignore[no-any-return]


def test_it_records_until_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, 20)
    stream = open_audio("mic")
    assert stream.live
    stream.stop()
    audio = np.concatenate(list(stream))
    assert len(audio) == 16_000
    assert audio[4_000:12_000] == pytest.approx(0.25, abs=1e-4)


def test_a_queue_that_overflows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, 1_300)
    with pytest.raises(AudioError, match=r"^The translation fell a minute behind the microphone"):
        list(open_audio("mic"))


def test_a_missing_microphone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = fake(monkeypatch, 0)
    with pytest.raises(AudioError, match=r"^There is no microphone 'USB': No input device matching 'USB'.$"):
        open_audio("mic:USB")

    def no_devices(*_: Any) -> None:
        raise PortAudioError("Error querying device -1")

    module.query_devices = no_devices
    with pytest.raises(
        AudioError, match=r"^No microphone was found: connect one, or translate a file or URL instead.$"
    ):
        open_audio("mic")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(
        AudioError, match=r"^The microphone needs the sounddevice package: pip install 'simulst\[mic\]'.$"
    ):
        open_audio("mic")
