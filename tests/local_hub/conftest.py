"""One hub of stand-ins for all tests of this folder, and a copy of it for those that change it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_hub.commands import Shell
from tests.local_hub.repositories import Hub
from tests.local_hub.server import local_hub
from tests.local_hub.stand_ins import write_stand_ins


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stand_ins")
    write_stand_ins(root)
    return root


@pytest.fixture
def hub(stand_ins: Path, tmp_path: Path) -> Hub:
    """Of its own for each test."""
    return Hub(Path(shutil.copytree(stand_ins, tmp_path / "hub")))


@pytest.fixture
def shell(hub: Hub, tmp_path: Path) -> Iterator[Shell]:
    with local_hub(hub) as address:
        yield Shell(tmp_path / "work", address)
