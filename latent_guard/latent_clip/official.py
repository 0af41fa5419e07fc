"""The checkpoints that the authors of Latent-CLIP published, which their training code (a fork of open_clip) wrote.

``epoch_34.pt`` holds ``state_dict``, whose names are open_clip's but for the image tower, ``visual.latent_vit``; the
VAE's encoder that lies beside it, and the optimizer's state, are of no use here. The image tower reads raw latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from latent_guard.errors import CheckpointError, InputError
from latent_guard.hub_ids import is_hub_id
from latent_guard.latent_clip.config import LatentCLIPConfig
from latent_guard.latent_clip.hub import download_file, download_files
from latent_guard.latent_clip.official_config import read_official_config
from latent_guard.latent_clip.presets import HUB_IDS, PRESETS
from latent_guard.latent_clip.unpickling import restricted_load

WEIGHTS, CONFIG = "epoch_34.pt", "config.json"
IN_REPOSITORY = f"checkpoints/{WEIGHTS}"
_DATA_PARALLEL, _IMAGE_TOWER = "module.", "visual.latent_vit."
_CONFIGS = f"give one of {', '.join(PRESETS)}, or the authors' JSON file"


@dataclass(frozen=True)
class OfficialCheckpoint:
    """An official checkpoint: the model's shape, its weights under our names, and the file that they come from."""

    config: LatentCLIPConfig
    weights: Mapping[str, Tensor]
    source: Path

    def require_fit(self, model: Mapping[str, Tensor]) -> None:
        """Raise CheckpointError, naming both shapes, unless the weights are those of a model with this state."""
        ours = {name: tuple(tensor.shape) for name, tensor in model.items()}
        theirs = {name: tuple(tensor.shape) for name, tensor in self.weights.items()}
        for name in [*ours, *theirs]:
            if ours.get(name) != theirs.get(name):
                raise CheckpointError(
                    f"{self.source} is of another architecture than its config: {name} is {theirs.get(name, 'absent')} "
                    f"in the checkpoint and {ours.get(name, 'absent')} by the config; {_CONFIGS}"
                )
        if broken := [name for name, weight in self.weights.items() if not weight.isfinite().all()]:
            raise CheckpointError(f"{self.source} is corrupt: {broken[0]} is not finite; copy it again")


def read_official(checkpoint: Path | str, config: LatentCLIPConfig | Path | str | None) -> OfficialCheckpoint:
    """A published checkpoint, or one of the same format; arguments and errors as ``LatentCLIP.from_official``."""
    path = _weights_file(checkpoint, with_config=config is None and checkpoint not in HUB_IDS)
    shape = _shape(config, str(checkpoint), path)
    content = restricted_load(path)
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state_dict of tensors, so it is not a checkpoint that open_clip wrote")
    named = {str(name).removeprefix(_DATA_PARALLEL): tensor for name, tensor in state.items()}
    if not any(name.startswith(_IMAGE_TOWER) for name in named):
        raise CheckpointError(f"{path} holds no {_IMAGE_TOWER}*, so it is not a Latent-CLIP; is it a pixel CLIP?")
    return OfficialCheckpoint(shape, _our_names(named), path)


def _weights_file(checkpoint: Path | str, with_config: bool) -> Path:
    path = Path(checkpoint)
    if path.is_file():
        return path
    for name in (WEIGHTS, IN_REPOSITORY):
        if (path / name).is_file():
            return path / name
    if path.exists() or path.suffix == ".pt" or not is_hub_id(checkpoint):
        raise CheckpointError(
            f"no checkpoint at {path}: give {WEIGHTS}, its folder, or a hub id like {next(iter(HUB_IDS))}"
        )
    path = download_file(str(checkpoint), IN_REPOSITORY)
    if with_config:
        download_files(str(checkpoint), (f"{path.parent.name}/{CONFIG}",))  # beside it, where there is one
    return path


def _shape(config: LatentCLIPConfig | Path | str | None, checkpoint: str, path: Path) -> LatentCLIPConfig:
    if isinstance(config, LatentCLIPConfig):
        return config
    if config is None and checkpoint in HUB_IDS:
        return PRESETS[HUB_IDS[checkpoint]]
    if str(config) in PRESETS:
        return PRESETS[str(config)]
    file = path.parent / CONFIG if config is None else Path(config)
    if not file.is_file():
        what = f"no {CONFIG} lies beside {path}" if config is None else f"there is no config {config}"
        raise InputError(f"{what}: {_CONFIGS}")
    return read_official_config(file)


def _our_names(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the towers' weights and drop the VAE's encoder; open_clip keeps the text tower at the top level."""
    weights = {}
    for name, tensor in named.items():
        if name.startswith(_IMAGE_TOWER):
            weights["visual." + name.removeprefix(_IMAGE_TOWER)] = tensor
        elif not name.startswith("visual."):
            weights[name if name == "logit_scale" else "text." + name] = tensor
    return weights
