"""JSON files whose last entry is the SHA-256 of all others, so that a change is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latent_guard.errors import InputError
from latent_guard.files.documents import read_json

FORMAT = 2  # 1 had neither a seal nor checksums
_SEAL = "seal"


def sealed(content: Mapping[str, Any]) -> bytes:
    """The file's bytes; ``content`` is plain data with texts for keys."""
    whole = {**content, "format": FORMAT}
    return (json.dumps({**whole, _SEAL: _digest(whole)}) + "\n").encode()


def read_sealed(path: Path, what: str) -> dict[str, Any]:
    """The content of a sealed file, or of one of before there were seals.

    Raises:
        InputError: it cannot be read, is no such file, was changed, or is of a later version.
    """
    data = read_json(path, what, any_text=True)
    if not isinstance(data, dict):
        raise InputError(f"{what} {path} is damaged: it is no mapping")
    version = data.get("format", 1)
    if not isinstance(version, int) or version > FORMAT:
        raise InputError(f"{what} {path} has format {version}; this version reads formats up to {FORMAT}")
    seal = data.pop(_SEAL, None)
    if (seal is not None or version == FORMAT) and seal != _digest(data):
        raise InputError(f"{what} {path} is damaged: it was changed since it was written")
    return data


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
