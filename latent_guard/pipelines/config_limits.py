"""The configs in a pipeline's folder, looked at before diffusers and transformers build what they ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latent_guard.bounds import require_whole
from latent_guard.building import checked
from latent_guard.errors import CheckpointError, InputError
from latent_guard.files.documents import read_json

_CONFIGS = ("model_index.json", "config.json", "*/config.json", "*/scheduler_config.json")
# The libraries build without memory, but take time for each layer; of what they then allocate nothing is longer than a
# schedule's timesteps or a table of positions.
_MOST = {"num_train_timesteps": 100_000, "layers": 1_000, "depth": 1_000, "": 10_000_000}


def check_parts(folder: Path) -> None:
    """Raise CheckpointError, naming file and key, for a config that cannot be read or asks for far too much.

    A hub id is no folder, and nothing is looked at.
    """
    for path in sorted(path for pattern in _CONFIGS for path in folder.glob(pattern)):
        try:
            config = checked(dict[str, Any], read_json(path, "the config"), str(path), "it")
            for key, value in _numbers(config, "it"):
                most = next(limit for part, limit in _MOST.items() if part in key)
                require_whole(f"{path}: {key}", value, -most, most)
        except InputError as error:
            raise CheckpointError(f"{error}; copy the folder again") from error


def _numbers(value: Any, key: str) -> Iterator[tuple[str, int]]:
    """The whole numbers of a config, each with its key."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _numbers(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part, key)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield key, value
