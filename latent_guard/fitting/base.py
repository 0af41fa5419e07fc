"""The Latent-CLIP that a fit starts from, for a pipeline's latent space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latent_guard.errors import InputError
from latent_guard.hub_ids import is_hub_id
from latent_guard.latent_clip.hub import download_files
from latent_guard.latent_clip.latent_space import PUBLISHED, LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.presets import HUB_IDS

CONFIG = "config.json"  # at the top of a repository of this package's format
# By the family of the latent space: the checkpoint that its authors published.
BASES = {"SDXL": "wendlerc/latent-clip-b-8-512-34b-80k"}
_WAYS = (
    "name one that reads these latents with --latent-clip, adapt one of another space with `latent-guard adapt`, or "
    "train one with `latent-guard encode` and `latent-guard train`"
)


def base_for(pipe: Any, source: str | None, device: str) -> LatentCLIP:
    """The Latent-CLIP named, or the published one of the latent space of a pipeline's VAE.

    Args:
        pipe: of diffusers.
        source: a folder or hub id, of this package's format or of the authors'; None for the published one.
        device: where it is to lie.

    Raises:
        InputError: none is named, and none is published for this space.
        CheckpointError: it is missing or damaged.
        LatentSpaceMismatchError: it reads other latents.
    """
    space = LatentSpace.of_vae(pipe.vae)
    if source is None:
        source = published_base(space)
    model = _load(source, device)
    model.require_space(space, "the pipeline makes latents")
    return model


def published_base(space: LatentSpace) -> str:
    """The hub id of the Latent-CLIP that is published for a latent space.

    Raises:
        InputError: there is none.
    """
    for family, hub_id in BASES.items():
        if replace(space, name=PUBLISHED[family].name) == PUBLISHED[family]:
            return hub_id
    raise InputError(f"no Latent-CLIP is published for the latents of {space}: {_WAYS}")


def with_noise_input(model: LatentCLIP) -> LatentCLIP:
    """A copy of a Latent-CLIP that is told the noise level of what it reads, through an input that changes nothing yet.

    The noise level is one more channel of the patch embedding (``LatentCLIP.encode_latents``), whose weights are 0.
    """
    weights = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
    if not model.config.reads_noise_level:
        patches = weights["visual.conv1.weight"]
        weights["visual.conv1.weight"] = torch.cat([patches, torch.zeros_like(patches[:, :1])], dim=1)
    copy = LatentCLIP(replace(model.config, reads_noise_level=True), model.tokenizer)
    copy.load_state_dict(weights)
    return copy.to(model.logit_scale)


def _load(source: str, device: str) -> LatentCLIP:
    if _is_official(source):
        return LatentCLIP.from_official(source, device=device)
    return LatentCLIP.from_pretrained(source, device=device)


def _is_official(source: str) -> bool:
    """Whether it is of the authors' format, and not of this package's."""
    path = Path(source)
    if source in HUB_IDS or path.suffix == ".pt":
        return True
    if path.is_dir():
        return not (path / "model.safetensors").is_file()
    return is_hub_id(source) and not (download_files(source, (CONFIG,)) / CONFIG).is_file()
