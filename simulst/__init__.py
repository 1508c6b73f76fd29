"""simulst: simultaneous speech translation. ``from simulst import load_model, load_policy, Session``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulst.core.session import Session as Session
    from simulst.models import load_model as load_model
    from simulst.policies import load_policy as load_policy

__version__ = "0.1.0"
__all__ = ["Session", "__version__", "load_model", "load_policy"]

_HOMES = {"load_model": "simulst.models", "load_policy": "simulst.policies", "Session": "simulst.core.session"}


def __getattr__(name: str) -> object:
    """Import the public names on first use, so that ``import simulst`` costs nothing."""
    if name in _HOMES:
        import pkgutil

        found: object = pkgutil.resolve_name(f"{_HOMES[name]}:{name}")
        return found
    raise AttributeError(f"module 'simulst' has no attribute {name!r}")
