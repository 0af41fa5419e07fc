"""Modular pipelines as folders and hub repositories: an index of components, which lie beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latent_guard.building import checked
from latent_guard.errors import CheckpointError, InputError
from latent_guard.files.documents import read_json
from latent_guard.latent_clip.hub import download_files
from latent_guard.pipelines.config_limits import INDEX, MODULAR_INDEX, check_parts
from latent_guard.pipelines.modular import require_loaded

_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")  # of a component; no code


def is_modular_folder(folder: Path) -> bool:
    """True for a folder that holds a modular pipeline, and no other."""
    return (folder / MODULAR_INDEX).is_file() and not (folder / INDEX).is_file()


def download_modular(hub_id: str) -> Path | None:
    """The folder of a modular pipeline's files; None for a repository that holds another kind of pipeline.

    Raises:
        CheckpointError: they cannot be had, or ask for more than may be built.
    """
    folder = download_files(hub_id, (INDEX, MODULAR_INDEX))
    if not is_modular_folder(folder):
        return None
    check_parts(folder, hub_id)  # what it is made of comes before gigabytes of it
    places = [place for place in component_places(folder).values() if place]
    folder = download_files(hub_id, (MODULAR_INDEX, *(f"{place}/{files}" for place in places for files in _FILES)))
    check_parts(folder, hub_id)
    return folder


def load_modular(folder: Path, dtype: Any) -> Any:
    """The pipeline, with the components that lie in the folder; what lies elsewhere is not fetched unseen.

    Raises:
        UnsupportedPipelineError: a component that a guard stands at is not among them.
    """
    from diffusers import ModularPipeline

    pipe = ModularPipeline.from_pretrained(str(folder), trust_remote_code=False)
    here = [name for name, place in component_places(folder).items() if place and (folder / place).is_dir()]
    pipe.load_components(names=here, dtype=dtype)
    require_loaded(pipe)
    return pipe


def component_places(folder: Path) -> dict[str, str]:
    """The subfolder of each component that an index names; "" where it names none.

    Raises:
        CheckpointError: the index cannot be read, or leads out of the folder.
    """
    path = folder / MODULAR_INDEX
    try:
        index = checked(dict[str, Any], read_json(path, "the pipeline's index"), str(path), "it")
        specs = {name: part[2] for name, part in index.items() if isinstance(part, list) and len(part) == 3}
        places = {
            name: checked(str, spec.get("subfolder") or "", str(path), f"the subfolder of {name}")
            for name, spec in specs.items()
            if isinstance(spec, dict)
        }
    except InputError as error:
        raise CheckpointError(f"{error}; copy the folder again") from error
    for name, place in places.items():
        if place and Path(place).name != place:
            raise CheckpointError(f"{path}: {name} lies in {place!r}, which is no folder's name")
    return places
