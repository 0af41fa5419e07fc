"""A concept bank on disk: ``bank.safetensors`` with its tensors, ``bank.json`` with everything in words.

A bank is one thing: ``bank.json`` holds a SHA-256 over its own words and the bytes of the tensors, so that neither can
be changed, cut or taken from another bank without that being said. It is no signature.
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

TENSORS, WORDS = "bank.safetensors", "bank.json"
FORMATS = (1, 2, 3)  # the first knows neither sources nor scoring nor calibration, the second no digest
DIGEST = "sha256"
_SINCE_FORMAT_2 = ("scoring", "sources", "calibration")


def write_bank(folder: Path, words: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write both files, each of them whole or not at all."""
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    whole = {"format": FORMATS[-1], **words}
    whole = {DIGEST: _digest(whole, content), **whole}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / TENSORS, content)
    write_atomic(folder / WORDS, (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode())


def read_bank(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what ``write_bank`` wrote, or a version before it; one without a digest is read with a warning.

    Raises:
        CheckpointError: a file is missing, corrupt or does not fit the other.
    """
    try:
        content = read_bytes(folder / TENSORS, "the bank's tensors")
        words: dict[str, Any] = read_json(folder / WORDS, "the bank's words")
    except InputError as error:
        if not ((folder / TENSORS).exists() and (folder / WORDS).exists()):
            raise CheckpointError(f"no concept bank in {folder}: {error}") from error
        raise CheckpointError(f"the concept bank in {folder} is corrupt: {error}; rebuild it") from error
    with refused_as_corrupt(folder):
        if words["format"] not in FORMATS:
            known = ", ".join(map(str, FORMATS))
            raise CheckpointError(f"{folder / WORDS} has format {words['format']}; this version reads {known}")
        _require_one_thing(folder, words, content)
        if words["format"] > 1 and (missing := [name for name in _SINCE_FORMAT_2 if name not in words]):
            raise KeyError(missing[0])
        return words, load(content)


@contextmanager
def refused_as_corrupt(folder: Path) -> Iterator[None]:
    """Have whatever plain data of another kind raises say that this bank is corrupt."""
    try:
        yield
    except (SafetensorError, InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the concept bank in {folder} is corrupt ({reason_of(error)}); rebuild it") from error


def _digest(words: Mapping[str, Any], tensors: bytes) -> str:
    """Over all words but the digest itself, and the whole file of tensors."""
    told = json.dumps({key: value for key, value in words.items() if key != DIGEST}, sort_keys=True)
    return hashlib.sha256(told.encode() + b"\n" + tensors).hexdigest()


def _require_one_thing(folder: Path, words: Mapping[str, Any], tensors: bytes) -> None:
    if words["format"] < 3:
        warnings.warn(
            f"the concept bank in {folder} carries no digest, so that a change of it would not be noticed; "
            "write it again with `latent-guard concepts build` or `calibrate`",
            stacklevel=5,
        )
    elif words[DIGEST] != _digest(words, tensors):
        raise CheckpointError(
            f"the concept bank in {folder} is corrupt: {TENSORS} and {WORDS} are not as they were written together "
            "(the SHA-256 differs); copy both again, or rebuild the bank"
        )
