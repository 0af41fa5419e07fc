from __future__ import annotations

from pathlib import Path

import pytest

from latent_guard.errors import InputError
from latent_guard.serving.bulk.cluster import connected
from latent_guard.serving.bulk.pool import results_of
from tests.serving.bulk.clusters import MEMORY, TwoNodes
from tests.serving.bulk.jobs import RESULT_BYTES, Deadly, LargeResults

pytestmark = pytest.mark.slow
PIECES = 60


def test_no_more_results_wait_than_rays_memory_for_objects_takes(two_nodes: TwoNodes, tmp_path: Path) -> None:
    with connected(two_nodes.address):
        results = results_of(LargeResults(tmp_path), range(PIECES))
        assert len(next(results)) == RESULT_BYTES
        assert len(list(tmp_path.iterdir())) * RESULT_BYTES <= 2 * MEMORY < PIECES * RESULT_BYTES
        assert sum(1 for _ in results) == PIECES - 1


def test_a_piece_that_kills_every_worker_ends_the_work_in_one_line(two_nodes: TwoNodes) -> None:
    with connected(two_nodes.address):
        results = results_of(Deadly(piece=2), range(4))
        with pytest.raises(InputError, match="workers of the Ray cluster died again and again"):
            list(results)
