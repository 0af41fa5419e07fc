"""The server that a document starts, on a port that is free, and the requests that it shows."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from urllib.request import urlopen

SHOWN = "localhost:8000"  # where the documents let it listen
READY_S = 240


class Server:
    """A ``latent-guard serve`` with a document's options, as long as its blocks run."""

    def __init__(self, options: list[str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"localhost:{free.getsockname()[1]}"
        port = self.address.partition(":")[2]
        self._process = subprocess.Popen([sys.executable, "-m", "latent_guard", "serve", *options, "--port", port])

    def wait_until_ready(self) -> None:
        """Return when it can be asked; raise if it ends before that."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "the server ended"
            with suppress(OSError), urlopen(f"http://{self.address}/health/ready") as answer:
                if answer.status == 200:
                    return
            time.sleep(0.2)
        raise TimeoutError("the server was not ready in time")

    def ask(self, line: str) -> None:
        """Run a line of shell that begins with curl, where there is one; it must say what it is shown to say."""
        if shutil.which("curl") is None:
            print("note: no curl on this machine, so this line was not run:", line)
            return
        self.wait_until_ready()
        print("$", line, flush=True)
        line = line.replace(SHOWN, self.address)
        subprocess.run(["bash", "-o", "pipefail", "-c", line], check=True, env={**os.environ, "no_proxy": "localhost"})

    def stop(self) -> None:
        """End it as an operator would; whatever runs is finished first."""
        self._process.terminate()
        assert self._process.wait(READY_S) == 0, "the server did not stop as it should"
