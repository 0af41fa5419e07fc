"""A Ray cluster of two nodes on this machine, whose workers can be killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEMORY = 80 * 2**20  # bytes for objects, of a node: the least that Ray takes


class TwoNodes:
    """Two nodes of one core each."""

    def __init__(self) -> None:
        from latent_guard.serving.bulk import cluster  # before Ray is imported: what is quiet there is quiet here

        cluster.require_ray()
        from ray.cluster_utils import Cluster

        node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=node)
        self._cluster.add_node(**{name: value for name, value in node.items() if name != "include_dashboard"})
        self._cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def workers(self) -> list[int]:
        """The processes in which the workers of a pool are at work; of this cluster alone."""
        parents = {node.all_processes["raylet"][0].process.pid for node in self._cluster.list_all_nodes()}
        return [pid for pid, parent, command in processes() if parent in parents and "MapWorker" in command]

    def kill_a_worker(self) -> int:
        worker = self.workers()[0]
        os.kill(worker, signal.SIGKILL)
        return worker

    def shutdown(self) -> None:
        self._cluster.shutdown()


def wait_until(happened: Callable[[], bool], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def processes() -> list[tuple[int, int, str]]:
    """Process, parent and command line of each."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found.append((int(folder.name), parent, (folder / "cmdline").read_text()))
        except (OSError, ValueError):  # it has ended
            continue
    return found
