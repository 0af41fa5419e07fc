"""One thread a test process: pytest runs one on every core, and theirs would only wait for each other."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The miniature world takes minutes to build: begun last, it would keep one process waiting for the other."""
    items.sort(key=lambda item: "worlds/emoji/test_build.py" not in item.nodeid)
