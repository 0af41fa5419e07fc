"""Pipelines and VAEs on the Hugging Face hub: their files, looked at before anything is built of them."""

from __future__ import annotations

from pathlib import Path

from latent_guard.errors import CheckpointError
from latent_guard.hub_access import obstacle
from latent_guard.latent_clip.hub import download_file, download_files
from latent_guard.pipelines.config_limits import INDEX, check_parts
from latent_guard.pipelines.modular_folder import download_modular

_VAE, _CONFIG, _WEIGHTS = "vae", "config.json", "diffusion_pytorch_model"


def download_pipeline(hub_id: str) -> Path:
    """The folder of a pipeline's files: of several precisions the full one, weights as safetensors, and no code.

    Raises:
        CheckpointError: it cannot be had, or is no pipeline that may be built.
    """
    from diffusers import DiffusionPipeline

    if (modular := download_modular(hub_id)) is not None:
        return modular
    check_parts(download_file(hub_id, INDEX).parent, hub_id)  # what it is made of comes before gigabytes of it
    try:
        folder = Path(DiffusionPipeline.download(hub_id, trust_remote_code=False, use_safetensors=True))
    except Exception as error:  # diffusers and the hub client raise a dozen unrelated types
        raise CheckpointError(f"cannot download the pipeline {hub_id}: {obstacle(error, hub_id)}") from error
    check_parts(folder, hub_id)
    return folder


def download_vae(hub_id: str) -> Path:
    """The folder of the VAE that a repository holds, or of the one of its pipeline.

    Raises:
        CheckpointError: it cannot be had, or there is none that may be built.
    """
    root = download_files(hub_id, (_CONFIG, f"{_VAE}/{_CONFIG}"))
    place = f"{_VAE}/" if (root / _VAE / _CONFIG).is_file() else ""
    if not (root / place / _CONFIG).is_file():
        raise CheckpointError(f"{hub_id} on the hub holds no VAE: neither {_CONFIG} nor {_VAE}/{_CONFIG}")
    check_parts(root, hub_id)
    weights = (f"{_WEIGHTS}.safetensors", f"{_WEIGHTS}-*.safetensors", f"{_WEIGHTS}.safetensors.index.json")
    return download_files(hub_id, tuple(place + name for name in weights)) / place
