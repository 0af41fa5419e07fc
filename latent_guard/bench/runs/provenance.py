"""What made a result: commit, machine, versions and the bundle, as plain text to record beside it."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.errors import GuardError
from latent_guard.package_data import PACKAGE

# The files that make a guarded image what it is, beside the models.
GUARD_FILES = ("guidance/**/*.py", "pipelines/**/*.py", "concepts/scoring.py", "guidance/policies/*.yaml")


@dataclass(frozen=True)
class Provenance:
    """``commit`` ends in ``+`` where the checkout had changes, and is ``unknown`` outside one."""

    commit: str
    package: str
    libraries: str
    machine: str
    bundle: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def provenance(bundle: Path | None = None) -> Provenance:
    """The present state of code, machine and the bundle in a folder; ``"none"`` where it has no manifest."""
    import diffusers
    import torch

    from latent_guard.version import __version__

    return Provenance(
        commit=commit(),
        package=f"latent-guard {__version__}",
        libraries=f"Python {platform.python_version()}, torch {torch.__version__}, diffusers {diffusers.__version__}",
        machine=_machine(),
        bundle=manifest_hash(bundle) if bundle and (bundle / "manifest.json").is_file() else "none",
    )


def manifest_hash(bundle: Path) -> str:
    """SHA-256 of a bundle's manifest, which itself holds the SHA-256 of every file."""
    return hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()


def guard_code() -> str:
    """SHA-256 over the source and the policies of the guard: a guarded image of others may be another.

    Raises:
        GuardError: a pattern of its files matches none, so that the hash would not cover what it says.
    """
    digest = hashlib.sha256()
    for pattern in GUARD_FILES:
        paths = sorted(PACKAGE.glob(pattern))
        if not paths:
            raise GuardError(f"{PACKAGE} holds no {pattern}; install the package with its sources")
        for path in paths:
            digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def prompts_hash(prompts: Mapping[str, Sequence[PromptRow]]) -> str:
    """SHA-256 over what images and records take from each task's list."""
    contents = {name: [_content_of(row) for row in rows] for name, rows in prompts.items()}
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def _content_of(row: PromptRow) -> list[Any]:
    """``extra`` is what a judge reads; a list without it has the hash that it had before there was any."""
    return [row.prompt, row.seed, row.guidance, row.categories, *([sorted(row.extra.items())] if row.extra else [])]


def commit() -> str:
    """The commit of the checkout that holds this package."""
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)  # else this copy is no part of that checkout
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]  # reading writes nothing
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def _machine() -> str:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{_processor()}, {torch.get_num_threads()} threads, {device}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
