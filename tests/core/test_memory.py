"""Threads that come and go allocate in one heap where that is asked for."""

import ctypes
import subprocess
import sys

import pytest

HEAPS = """
import ctypes, re, sys, tempfile, threading
from simulst.core.memory import share_one_heap

if sys.argv[1] == "one":
    share_one_heap()
libc, gate = ctypes.CDLL(None), threading.Barrier(8)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]

def work():
    gate.wait(60)
    libc.malloc(ctypes.c_size_t(3_000))
    gate.wait(60)

threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with tempfile.NamedTemporaryFile() as file:
    stream = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall(rb"<heap nr", file.read())))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"), reason="needs glibc")
def test_threads_share_one_heap() -> None:
    def heaps(ask: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", HEAPS, ask], capture_output=True, text=True, timeout=60, check=True
        )
        return int(done.stdout)

    assert heaps("as usual") > 1
    assert heaps("one") == 1
