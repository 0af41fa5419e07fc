"""A concept bank on disk: ``bank.safetensors`` with its tensors, ``bank.json`` with all else.

A bank is one thing: ``bank.json`` holds a SHA-256 over its own content and the bytes of the tensors, so that a change
of either, or a file of another bank, is noticed. It is no signature.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from latent_guard.errors import CheckpointError, InputError, reason_of
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_bytes, read_json

TENSORS, CONTENT = "bank.safetensors", "bank.json"
FORMATS = (1, 2, 3)  # the first knows neither sources nor scoring nor calibration, the second no digest
DIGEST = "sha256"
_SINCE_FORMAT_2 = ("scoring", "sources", "calibration")


def write_bank(folder: Path, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write both files, each atomically."""
    tensor_bytes = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    sealed = {"format": FORMATS[-1], **content}
    sealed = {DIGEST: _digest(sealed, tensor_bytes), **sealed}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / TENSORS, tensor_bytes)
    write_atomic(folder / CONTENT, (json.dumps(sealed, indent=1, ensure_ascii=False) + "\n").encode())


def read_bank(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what ``write_bank`` wrote, or a version before it; one without a digest is read with a warning.

    Raises:
        CheckpointError: a file is missing, corrupt or does not fit the other.
    """
    try:
        tensor_bytes = read_bytes(folder / TENSORS, "the bank's tensors")
        content: dict[str, Any] = read_json(folder / CONTENT, "the bank's content")
    except InputError as error:
        if not ((folder / TENSORS).exists() and (folder / CONTENT).exists()):
            raise CheckpointError(f"no concept bank in {folder}: {error}") from error
        raise CheckpointError(f"the concept bank in {folder} is corrupt: {error}; rebuild it") from error
    with refused_as_corrupt(folder):
        if content["format"] not in FORMATS:
            known = ", ".join(map(str, FORMATS))
            raise CheckpointError(f"{folder / CONTENT} has format {content['format']}; this version reads {known}")
        _require_digest(folder, content, tensor_bytes)
        if content["format"] > 1 and (missing := [name for name in _SINCE_FORMAT_2 if name not in content]):
            raise KeyError(missing[0])
        return content, load(tensor_bytes)


@contextmanager
def refused_as_corrupt(folder: Path) -> Iterator[None]:
    """Turn the errors that wrong content raises inside the block into one that says that this bank is corrupt."""
    try:
        yield
    except (SafetensorError, InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the concept bank in {folder} is corrupt ({reason_of(error)}); rebuild it") from error


def _digest(content: Mapping[str, Any], tensors: bytes) -> str:
    """The SHA-256 of all content but the digest itself, and of the whole file of tensors."""
    text = json.dumps({key: value for key, value in content.items() if key != DIGEST}, sort_keys=True)
    return hashlib.sha256(text.encode() + b"\n" + tensors).hexdigest()


def _require_digest(folder: Path, content: Mapping[str, Any], tensors: bytes) -> None:
    if content["format"] < 3:
        warnings.warn(
            f"the concept bank in {folder} carries no digest, so that a change of it would not be noticed; "
            "write it again with `latent-guard concepts build` or `calibrate`",
            stacklevel=5,
        )
    elif content[DIGEST] != _digest(content, tensors):
        raise CheckpointError(
            f"the concept bank in {folder} is corrupt: {TENSORS} and {CONTENT} are not as they were written together "
            "(the SHA-256 differs); copy both again, or rebuild the bank"
        )
