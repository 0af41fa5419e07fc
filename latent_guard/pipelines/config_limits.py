"""The configs in a pipeline's folder, looked at before diffusers and transformers build what they ask for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latent_guard.bounds import require_whole
from latent_guard.building import checked
from latent_guard.errors import CheckpointError, InputError
from latent_guard.files.documents import read_json

INDEX, MODULAR_INDEX = "model_index.json", "modular_model_index.json"
_CONFIGS = (INDEX, MODULAR_INDEX, "config.json", "*/config.json", "*/scheduler_config.json")
_LIBRARIES = ("diffusers", "transformers")
# The libraries build without memory, but take time for each layer; of what they then allocate nothing is longer than a
# schedule's timesteps or a table of positions.
_MOST = {"num_train_timesteps": 100_000, "layers": 1_000, "depth": 1_000, "": 10_000_000}


def check_parts(folder: Path, hub_id: str | None = None) -> None:
    """Raise CheckpointError, naming file and key, for a config that cannot be read, asks for far too much, or for code.

    Args:
        folder: a pipeline's, or a VAE's.
        hub_id: the repository whose files these are; None: the folder is the user's own.
    """
    for path in sorted(path for pattern in _CONFIGS for path in folder.glob(pattern)):
        name = str(path) if hub_id is None else f"{hub_id} on the hub: {path.relative_to(folder)}"
        try:
            config = checked(dict[str, Any], read_json(path, "the config"), name, "it")
            for key, value in _numbers(config, "it"):
                most = next(limit for part, limit in _MOST.items() if part in key)
                require_whole(f"{name}: {key}", value, -most, most)
            _require_known_classes(config, name, is_index=path.name in (INDEX, MODULAR_INDEX))
        except InputError as error:
            mend = "copy the folder again" if hub_id is None else "take another model"
            raise CheckpointError(f"{error}; {mend}") from error


def _require_known_classes(config: dict[str, Any], name: str, is_index: bool) -> None:
    """Code that comes with weights is never run, and no library is imported because a file names it.

    Raises:
        InputError: the file asks for either.
    """
    pipeline = config.get("_class_name")
    if "auto_map" in config and pipeline is not None:
        raise InputError(f"{name} asks for code of its own ({config['auto_map']}), which is never run")
    if not is_index:
        return
    if pipeline is not None and not isinstance(pipeline, str):
        raise InputError(f"{name} asks for a pipeline of its own code ({pipeline}), which is never run")
    for part, value in config.items():
        if isinstance(value, list) and value and isinstance(value[0], str) and not _is_known(value[0]):
            raise InputError(
                f"{name}: {part} is made by {value[0]!r}, and only parts of {' and '.join(_LIBRARIES)} are"
            )


def _is_known(library: str) -> bool:
    """Whether it is one of theirs, or imported already, so that a file that names it runs nothing."""
    import diffusers

    return library in _LIBRARIES or library in sys.modules or hasattr(diffusers.pipelines, library)


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


def absent_parts(folder: Path) -> dict[str, None]:
    """The parts that a pipeline's index says it does not have, as arguments of ``from_pretrained``.

    Without them diffusers refuses Stable Diffusion 3 without its T5, which its own ``save_pretrained`` writes.
    """
    index = read_json(folder / INDEX, "the pipeline's index")
    return {name: None for name, part in index.items() if part == [None, None]}
