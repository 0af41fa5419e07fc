"""The command line as a user meets it whose hub is on this machine, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Imports once, and has a child of the process for each command: the client reads HF_ENDPOINT when it is imported.
_EACH = """
import json, os, sys
from diffusers import AutoModel, DiffusionPipeline, StableDiffusionXLPipeline
from latent_guard.cli import main

codes = []
for number, arguments in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if child == 0:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{number}.{name}.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
        sys.argv = ["latent-guard", *arguments]
        main("latent-guard")
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


@dataclass(frozen=True)
class Finished:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """A user's shell: a working folder, beside it a home for the hub's cache and for guards, and the hub's address."""

    folder: Path
    address: str
    token: str | None = None
    offline: bool = False

    def run(self, *arguments: str | Path) -> Finished:
        """A command, as typed."""
        done = self._python("-m", "latent_guard", *map(str, arguments))
        return Finished(done.returncode, done.stdout, done.stderr)

    def run_each(self, commands: Sequence[Sequence[str | Path]]) -> list[Finished]:
        """Several commands one after another, in forks of one process."""
        asked = [list(map(str, arguments)) for arguments in commands]
        done = self._python("-c", _EACH, json.dumps(asked))
        assert done.returncode == 0, done.stderr
        seen = [[(self.folder / f"{k}.{name}.txt") for name in ("out", "err")] for k in range(len(asked))]
        codes = json.loads(done.stdout.splitlines()[-1])
        finished = [
            Finished(code, *(path.read_text() for path in paths)) for code, paths in zip(codes, seen, strict=True)
        ]
        for path in (path for paths in seen for path in paths):
            path.unlink()
        return finished

    def python(self, code: str) -> Finished:
        """A script."""
        done = self._python("-c", code)
        return Finished(done.returncode, done.stdout, done.stderr)

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
        own = {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(self.folder.parent / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "LATENT_GUARD_HOME": str(self.folder.parent / "home"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_OFFLINE": str(int(self.offline)),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **({"HF_TOKEN": self.token} if self.token else {}),
        }
        self.folder.mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env={**kept, **own}, cwd=self.folder
        )
