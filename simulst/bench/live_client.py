"""One client process of `simulst bench live`: sends a file at the speed of speech, notes when its words come back.

`python -m simulst.bench.live_client ADDRESS FILE SECONDS POLICY DELAY` prints one JSON object.
"""

import json
import sys
import threading
import time

from websockets.sync.client import ClientConnection, connect

from simulst.audio import SAMPLE_RATE, FloatArray, read_audio

BLOCK = 1_600
"""Samples per message: 100 ms at 16 kHz."""


def main() -> None:
    address, path, seconds, policy, delay = sys.argv[1:]
    audio = read_audio(path, duration_s=float(seconds))
    time.sleep(float(delay))
    with connect(address, compression=None, ping_interval=None, max_size=None) as socket:
        hello = {"type": "hello", "version": 1, "sample_rate": SAMPLE_RATE, "format": "f32le", "policy": policy}
        socket.send(json.dumps({**hello, "pace": "live", "hypotheses": False, "transcript": False}))
        ready = json.loads(socket.recv())
        if ready["type"] != "ready":
            raise SystemExit(f"simulst: {ready.get('message', ready)}")
        begin = time.monotonic()
        sender = threading.Thread(target=_send, args=(socket, audio, begin))
        sender.start()
        found = _listen(socket, begin)
        sender.join()
    print(json.dumps(found))


def _send(socket: ClientConnection, audio: FloatArray, begin: float) -> None:
    for start in range(0, len(audio), BLOCK):
        block = audio[start : start + BLOCK]
        wait_s = begin + (start + len(block)) / SAMPLE_RATE - time.monotonic()  # a block exists once it was spoken
        if wait_s > 0:
            time.sleep(wait_s)
        socket.send(block.tobytes())
    socket.send(json.dumps({"type": "end"}))


def _listen(socket: ClientConnection, begin: float) -> dict[str, object]:
    """Lag of every write: seconds from the end of its source words, as spoken here, to its arrival here."""
    lags: list[float] = []
    load = backlog_s = 0.0
    while True:
        message = json.loads(socket.recv())
        now_s = time.monotonic() - begin
        if message["type"] == "write":
            spoken_s = message["end_s"] if message["end_s"] is not None else message["audio_s"]
            lags.append(now_s - spoken_s)
        elif message["type"] == "lag":
            load, backlog_s = message["load"], max(backlog_s, message["backlog_s"])
        elif message["type"] == "end":
            return {"text": message["text"], "lags_s": lags, "load": load, "backlog_max_s": backlog_s}
        elif message["type"] == "error":
            raise SystemExit(f"simulst: {message['message']}")


if __name__ == "__main__":
    main()
