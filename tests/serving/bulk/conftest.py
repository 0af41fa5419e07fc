from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving.bulk.clusters import TwoNodes


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[TwoNodes]:
    nodes = TwoNodes()
    yield nodes
    nodes.shutdown()
