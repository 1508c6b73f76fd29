"""The one place that prepares fairseq2: its native part where it fits this torch, a stub of it everywhere else.

fairseq2's Python (modules, layouts, gangs) works with any recent torch; its native extension is built against one torch
release and crashes under others. With `DOC_MODE` fairseq2 itself declares the native classes as empty shells, so
nothing here may use `fairseq2.data` without checking `native()` first.
"""

import contextlib
import ctypes
import importlib.util
import pathlib
import sys
import types

from simulst.errors import ModelError

INSTALL = "pip install --no-deps fairseq2==0.8.1"
"""Without its native part, which the package index has for no Python after 3.12; simulst's metadata names the rest."""
_NATIVE_TORCH = "2.9.1"


def _preload_sndfile() -> None:
    spec = importlib.util.find_spec("_soundfile_data")
    if spec is None or spec.origin is None:
        return
    for library in pathlib.Path(spec.origin).parent.glob("libsndfile*.so"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _stub() -> types.ModuleType:
    import torch

    def unavailable() -> None:
        raise OSError("fairseq2n is not usable with this torch; simulst needs only fairseq2's Python part")

    def cuda_version() -> tuple[int, int] | None:
        if torch.version.cuda is None:
            return None
        major, minor = torch.version.cuda.split(".")[:2]
        return int(major), int(minor)

    module = types.ModuleType("fairseq2n", "Stand-in for fairseq2's native extension.")
    contents = {
        "__version__": "0.8.1",
        "DOC_MODE": True,
        "torch_version": lambda: torch.__version__,
        "torch_variant": lambda: "stub",
        "supports_image": lambda: False,
        "supports_cuda": lambda: torch.version.cuda is not None,
        "cuda_version": cuda_version,
        "get_lib": unavailable,
        "get_include": unavailable,
        "get_cmake_prefix_path": unavailable,
    }
    for name, value in contents.items():
        setattr(module, name, value)
    return module


def prepare() -> None:
    """Make `import fairseq2` safe; call it before the first import of any fairseq2 module. ModelError without it."""
    if importlib.util.find_spec("fairseq2") is None:
        raise ModelError(
            f"fairseq2, which this model is built on, is not installed; `{INSTALL}` brings what is needed of it."
        )
    if "fairseq2n" in sys.modules:
        return
    import torch

    _preload_sndfile()
    if importlib.util.find_spec("fairseq2n") is not None and torch.__version__.split("+")[0] == _NATIVE_TORCH:
        try:
            import fairseq2n  # noqa: F401

            return
        except (ImportError, OSError, RuntimeError):
            sys.modules.pop("fairseq2n", None)
    sys.modules["fairseq2n"] = _stub()


def native() -> bool:
    """Whether fairseq2's native data pipeline and audio decoders can be used in this process."""
    prepare()
    return not getattr(sys.modules["fairseq2n"], "DOC_MODE", False)
