"""Which weights a judge has, in the words that are recorded: a hub id with its commit, or a file with its hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latent_guard.files.checksums import Checksum

_DIGITS = 12  # digits of a hash


def weights_of(source: str, config: Any) -> str:
    """A loaded model's source: ``owner/name@commit``, or the folder with its files' SHA-256.

    ``config`` is the model's own of transformers, which knows the commit that it was downloaded at.
    """
    if not Path(source).is_dir():
        return f"{source}@{getattr(config, '_commit_hash', None) or 'unknown'}"
    files = [path for pattern in ("*.safetensors", "*.bin") for path in sorted(Path(source).glob(pattern))]
    return f"{Path(source).name} (sha256 {', '.join(fingerprint(path) for path in files)})"


def fingerprint(path: Path) -> str:
    """The first digits of a file's SHA-256."""
    return Checksum.of_file(path).sha256[:_DIGITS]
