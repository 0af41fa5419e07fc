"""A ``latent-guard serve`` as a process of its own, on a free port of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

READY_S, STOP_S = 180.0, 120.0


@dataclass(frozen=True, eq=False)
class Server:
    """A process that answers at ``url``."""

    url: str
    process: subprocess.Popen[bytes]

    def resident_mib(self) -> float:
        """The memory that the process holds, its models included."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        kib = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
        return int(kib) / 1024

    def kill(self) -> None:
        """End it without a word, as a machine that loses its power would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(log: Path, *options: str, model: str = "shipped") -> Iterator[Server]:
    """A server that is ready; it is stopped at the end, if it still runs."""
    server = start(log, *options, model=model)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            try:
                server.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()


def start(log: Path, *options: str, model: str = "shipped") -> Server:
    """Start a server, and wait until it is ready.

    Raises:
        RuntimeError: it ended, or was not ready in time; ``log`` says why.
    """
    port = _free_port()
    command = [sys.executable, "-m", "latent_guard", "serve", model, "--port", str(port), *options]
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    server = Server(f"http://127.0.0.1:{port}", process)
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}; see {log}")
        try:
            if httpx.get(f"{server.url}/health/ready", timeout=5).status_code == 200:
                return server
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    server.kill()
    raise RuntimeError(f"the server was not ready after {READY_S:.0f} s; see {log}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
