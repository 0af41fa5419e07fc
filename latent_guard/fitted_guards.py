"""Where a guard that was fitted to a pipeline lives, so that it is found by the pipeline's name alone.

One folder each, ``guards/KEY`` of the user's data folder, or of the one that ``LATENT_GUARD_HOME`` names. The key is
the pipeline's identity: its id on the hub, or a digest of what its folder holds, so that a folder may be moved.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from platformdirs import user_data_dir

from latent_guard.building import checked
from latent_guard.errors import InputError
from latent_guard.files.documents import read_json
from latent_guard.files.manifests import MANIFEST
from latent_guard.hub_ids import is_hub_id
from latent_guard.package_data import SHIPPED_MODELS

HOME = "LATENT_GUARD_HOME"
_INDEX, _CONFIG, _WEIGHTS = "model_index.json", "config.json", ".safetensors"
_BLOCK, _BLOCKS = 4096, 64  # bytes of a file of weights that are read together, and how often


def place_of(model: str) -> Path:
    """The folder of the guard that is fitted to a model, whether there is one or not.

    Args:
        model: a pipeline's folder, hub id, or short name.

    Raises:
        InputError: it is none of these.
    """
    key = model if model in SHIPPED_MODELS else identity_of(model)
    if not key:
        raise InputError(f"{model} is neither a folder nor a hub id of the form owner/name")
    home = os.environ.get(HOME) or user_data_dir("latent-guard", appauthor=False)
    return Path(home) / "guards" / key


def find(model: str) -> Path | None:
    """The folder of the guard that was fitted to a model, of those that are whole; None where there is none."""
    if model not in SHIPPED_MODELS and not identity_of(model):
        return None
    place = place_of(model)
    return place if (place / MANIFEST).is_file() else None


def identity_of(pipeline: str) -> str:
    """A pipeline's identity: ``owner--name`` of a hub id, sixteen hexadecimal digits of a folder, empty for neither.

    Of a folder its index, the configs of its parts, and names, sizes and a sample of the weights are hashed: that costs
    milliseconds, and tells a fine-tuned model from the one that it was made from.

    Raises:
        InputError: the folder's index cannot be read.
    """
    folder = Path(pipeline)
    if not pipeline or not folder.is_dir():  # Path("") is the working directory
        return pipeline.replace("/", "--") if is_hub_id(pipeline) else ""
    digest = hashlib.sha256()
    for path in _telling_files(folder):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
        with path.open("rb") as file:
            for start in range(0, size, max(size // _BLOCKS, _BLOCK)):
                file.seek(start)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:16]


def is_comparable(identity: str, other: str) -> bool:
    """Whether two identities can differ for a reason: that of a folder says nothing of a hub id."""
    return bool(identity and other) and ("--" in identity) == ("--" in other)


def _telling_files(folder: Path) -> Iterator[Path]:
    """Index, configs and weights of a pipeline, or of a model that lies alone; nothing else that lies there."""
    path = folder / _INDEX
    index = checked(dict[str, Any], read_json(path, "the index"), str(path), "it") if path.exists() else {}
    parts = sorted(name for name in index if Path(name).name == name)
    for part in (folder, *(folder / name for name in parts if (folder / name).is_dir())):
        yield from sorted(
            path
            for path in part.iterdir()
            if path.is_file() and (path.name == _INDEX or path.name.endswith((_CONFIG, _WEIGHTS)))
        )
