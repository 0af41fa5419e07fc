"""``latent-guard convert``: a published Latent-CLIP as one of this package's folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.cli.places import OutFolder
from latent_guard.errors import CheckpointError, InputError
from latent_guard.terminal import say

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.pipelines.canary import Canary


def convert(
    checkpoint: Annotated[
        str, typer.Argument(help="epoch_34.pt, its folder, or a hub id: wendlerc/latent-clip-b-8-512-34b-80k.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write; it must be new or empty.", parser=OutFolder("OUT"))],
    config: Annotated[
        str | None,
        typer.Option(
            help="latent-vit-b-8, latent-vit-b-4-plus, or the authors' JSON file; by default what the hub id says, "
            "else config.json beside the checkpoint."
        ),
    ] = None,
    vae: Annotated[
        str | None,
        typer.Option(
            help="The VAE whose latents it reads, or a pipeline with it (stabilityai/sdxl-turbo): folder or hub id. "
            "A guard needs it, to tell that VAE from others."
        ),
    ] = None,
) -> None:
    """Convert an official Latent-CLIP checkpoint to safetensors, in full precision, once."""
    from latent_guard.cli.model_folder import require_new_or_begun, write_model
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.pipelines.canary import CANARY_FILE

    require_new_or_begun(out)
    model = LatentCLIP.from_official(checkpoint, config)
    canary = None if vae is None else _canary(model, vae)
    there = _already_there(model, out)
    write_model(None if there else model, canary, out)
    done = "already holds this checkpoint" if there else f"now holds Latent-CLIP {model.fingerprint()}"
    say(f"{out} {done}, which reads latents of {model.config.latent_space}")
    if not (out / CANARY_FILE).is_file():
        say("to guard a pipeline with it, convert again with --vae: the pipeline, or its VAE")


def _canary(model: LatentCLIP, source: str) -> Canary:
    """The canary of the model's VAE, after a check that the VAE has the model's latent space."""
    from latent_guard.cli.model_folder import canary_of
    from latent_guard.latent_clip.latent_space import LatentSpace
    from latent_guard.loading import load_vae

    vae = load_vae(source, "--vae")
    model.require_space(LatentSpace.of_vae(vae), "the VAE makes latents")
    return canary_of(vae)


def _already_there(model: LatentCLIP, out: Path) -> bool:
    from latent_guard.latent_clip.model_files import CONFIG

    if not (out / CONFIG).is_file():
        return False
    try:
        there = type(model).from_pretrained(out).fingerprint()
    except CheckpointError as error:
        raise InputError(f"{out} holds a broken model ({error}); remove it or choose a new folder") from error
    if there != model.fingerprint():
        raise InputError(f"{out} holds another Latent-CLIP, {there}; choose a new folder")
    return True
