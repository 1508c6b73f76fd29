"""Of the whole suite: fast tests first, so that a mistake shows within seconds; Ctrl-C reaches what tests start."""

import signal

import pytest

# A run in the background of a shell ignores SIGINT, and so would all its children; what is handled is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: any(item.get_closest_marker(name) for name in ("slow", "real")))
