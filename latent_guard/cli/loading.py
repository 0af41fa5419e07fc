"""Finding and loading what ``generate`` runs: a diffusers pipeline, and the guard and the bank that belong to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.latent_clip.model import LatentCLIP

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_GUARD_FILES = ("*.json", "*.safetensors", "*.txt")


def load_pipeline(model: str | None) -> Any:
    """The diffusers pipeline of a local folder or a hub id (None: the shipped one), on the GPU where there is one.

    Raises:
        InputError: neither a folder nor a hub id.
        CheckpointError: diffusers cannot load it.
    """
    import torch
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    source = shipped_pipeline() if model is None else _folder_or_hub_id(model, "--model", "model_index.json")
    device = _device()
    dtype = torch.float16 if device == "cuda" else torch.float32
    try:
        pipe = DiffusionPipeline.from_pretrained(
            source, torch_dtype=dtype, trust_remote_code=False, use_safetensors=True
        ).to(device)
    except Exception as error:  # diffusers and transformers raise a dozen unrelated types for a bad checkpoint
        mend = "copy the folder again" if Path(source).is_dir() else "check the id and the connection"
        raise CheckpointError(f"cannot load the pipeline {source}; {mend} ({_first_line(error)})") from error
    pipe.set_progress_bar_config(desc="denoising", disable=None)  # None: only where stderr is a terminal
    return pipe


def load_vae(model: str | None) -> Any:
    """The VAE alone of what ``load_pipeline`` would load, in single precision; raises the same."""
    from diffusers import AutoencoderKL
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    source = shipped_pipeline() if model is None else _folder_or_hub_id(model, "--model", "model_index.json")
    try:
        return AutoencoderKL.from_pretrained(source, subfolder="vae", use_safetensors=True).to(_device()).eval()
    except Exception as error:  # as in load_pipeline
        raise CheckpointError(f"cannot load the VAE of {source} ({_first_line(error)})") from error


def usual_arguments(model: str | None) -> dict[str, Any]:
    """Call arguments that a model wants other than diffusers' defaults: the shipped one has its own guidance scale."""
    from latent_guard.worlds.emoji.prompts import GUIDANCE

    return {"guidance_scale": GUIDANCE} if model is None else {}


def load_guard(model: str | None, guard: str | None, bank: Path | None) -> LatentGuard:
    """The guard and bank asked for, by default those beside the model.

    Raises:
        InputError: one of them is not given and does not lie beside the model.
        CheckpointError: one of them cannot be read.
    """
    from latent_guard.guidance.guard import LatentGuard

    folder = guard_folder(model, guard)
    bank_folder = bank if bank else _beside(str(shipped_pipeline()) if model is None else model, "bank")
    return LatentGuard.from_pretrained(folder, bank_folder, device=_device())


def load_latent_clip(model: str | None, guard: str | None) -> LatentCLIP:
    """The guard's Latent-CLIP alone; raises as ``load_guard``."""
    from latent_guard.latent_clip.model import LatentCLIP

    return LatentCLIP.from_pretrained(guard_folder(model, guard), device=_device())


def shipped_pipeline() -> Path:
    """Folder of the pipeline that ships with the package."""
    from latent_guard.worlds.emoji.bundle import bundle_folder

    return Path(bundle_folder()) / "pipeline"


def guard_folder(model: str | None, guard: str | None) -> Path:
    """Where the guard asked for lies, by default beside the model; raises ``InputError`` where there is none."""
    return (
        Path(_guard_source(guard)) if guard else _beside(str(shipped_pipeline()) if model is None else model, "guard")
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _beside(pipeline: str, kind: str) -> Path:
    places = (Path(pipeline).absolute().parent / kind, Path(pipeline) / kind)
    for place in places:
        if place.is_dir():
            return place
    mend = {
        "guard": "a Latent-CLIP for this model's latents comes from `latent-guard train RECIPE`",
        "bank": "one is made with `latent-guard concepts build`",
    }[kind]
    raise InputError(f"no {kind} lies beside {pipeline} (looked for {places[0]}); name one with --{kind}: {mend}")


def _guard_source(guard: str) -> str:
    source = _folder_or_hub_id(guard, "--guard", "config.json")
    if Path(source).is_dir():
        return source
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(source, allow_patterns=list(_GUARD_FILES)))
    except Exception as error:  # the hub client raises OSError, ValueError and errors of its HTTP library alike
        message = f"cannot download the guard {source}; check the id and the connection ({_first_line(error)})"
        raise CheckpointError(message) from error


def _folder_or_hub_id(source: str, option: str, index: str) -> str:
    folder = Path(source)
    if folder.is_dir():
        if not (folder / index).is_file():
            raise InputError(f"{option} {source} is a folder without {index}; give the folder that holds that file")
        return source
    if folder.exists() or not _HUB_ID.fullmatch(source):
        raise InputError(f"{option} {source} is neither a folder nor a hub id of the form owner/name")
    return source


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(" :.")
