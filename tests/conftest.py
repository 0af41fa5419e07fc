"""One thread a test process: pytest runs one on every core, and theirs would only wait for each other."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.chromium import browser, visit  # noqa: F401  # fixtures, of which there is one browser a process

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("no deadline", deadline=None)  # no test is timed: another process may be at work
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The miniature world takes minutes to build: begun last, it would keep one process waiting for the other."""
    items.sort(key=lambda item: "worlds/emoji/test_build.py" not in item.nodeid)
