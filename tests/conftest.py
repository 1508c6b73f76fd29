"""Order of the suite: fast tests first, so that a mistake shows within seconds."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: any(item.get_closest_marker(name) for name in ("slow", "real")))
