"""The Ray cluster that bulk work runs on: one that is there, or one on this machine for as long as the work takes."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from latent_guard.errors import InputError, reason_of
from latent_guard.extras import imports_of

LOCAL = "local"
# Ray reports its use to its makers, copies the working folder to all machines when `uv run` starts it, and tells of
# itself on the terminal, unless it is told otherwise before it is imported.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
}


@dataclass(frozen=True)
class Capacity:
    """How many workers fit on a cluster at a time, and what each takes of it."""

    workers: int
    cpus: int
    gpus: int


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to Ray while the block runs; ``local`` starts one on this machine, without dashboard, and ends it.

    Nothing of this machine is uploaded: the package, models and files are found by each machine itself. Nothing is to
    be printed in the block but on stderr.

    Raises:
        InputError: Ray is not installed, or none answers at this address.
    """
    if "://" in address:
        raise InputError(f"--ray {address}: give host:port, auto or local, and run the command on one of its machines")
    ray = require_ray()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if address == LOCAL else {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **local, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InputError(f"--ray {address}: no Ray cluster answers there ({reason_of(error)})") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray takes it for itself
    with redirect_stdout(sys.stderr):  # Ray tells of workers that died; stdout is for the command's own answer
        try:
            yield
        finally:
            ray.shutdown()


def capacity(threads: int) -> Capacity:
    """The workers that fit on the cluster that this process is connected to.

    With GPUs, a worker takes one of them; else as many cores as torch uses threads here, since the last bits of what
    a CPU computes depend on their number.

    Args:
        threads: of torch in one process.

    Raises:
        InputError: not one worker fits on any machine.
    """
    machines = _machines()
    if has_gpus():
        return Capacity(sum(int(machine.get("GPU", 0)) for machine in machines), 1, 1)
    if workers := sum(int(machine.get("CPU", 0)) // threads for machine in machines):
        return Capacity(workers, threads, 0)
    raise InputError(f"no machine of this Ray cluster has {threads} cores; set OMP_NUM_THREADS to fewer")


def has_gpus() -> bool:
    """Whether any machine of the connected cluster has a GPU."""
    return any(machine.get("GPU", 0) >= 1 for machine in _machines())


def _machines() -> list[dict[str, float]]:
    return [node["Resources"] for node in require_ray().nodes() if node["Alive"]]


def require_ray() -> Any:
    """Ray, told to be quiet and to upload nothing.

    Raises:
        InputError: it is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with imports_of("ray"):
        import ray.data
    return ray
