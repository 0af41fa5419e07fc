"""The output folder of commands that write a Latent-CLIP: what it may hold before, and how it is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.errors import InputError
from latent_guard.files.atomic import PART, writing

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.pipelines.canary import Canary


def require_new_or_begun(out: Path) -> None:
    """Raise InputError if ``out`` holds anything but what an earlier or interrupted run of such a command leaves."""
    from latent_guard.files.manifests import MANIFEST
    from latent_guard.latent_clip.model_files import CONFIG, TOKENIZER, WEIGHTS
    from latent_guard.pipelines.canary import CANARY_FILE

    if out.exists():
        written = {TOKENIZER, CANARY_FILE, MANIFEST, CONFIG, WEIGHTS}
        found = {path.name for path in out.iterdir() if not path.name.endswith(PART)}
        if found - {CANARY_FILE} and not {TOKENIZER} <= found <= written:  # the canary and the tokenizer come first
            raise InputError(f"{out} holds something else, which would be mixed with the model; choose a new folder")


def canary_of(vae: Any) -> Canary:
    """The canary of a VAE, made of the shipped world's test image."""
    from latent_guard.loading import shipped_pipeline
    from latent_guard.pipelines.canary import Canary

    return Canary.made_by(vae, Canary.load(shipped_pipeline().parent / "guard").picture)


def write_model(model: LatentCLIP | None, canary: Canary | None, out: Path) -> None:
    """Write a model, in full precision, and a canary; raises ``InputError`` where the file system refuses."""
    import torch

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    if canary is not None:
        canary.save(out)
    if model is not None:
        model.save_pretrained(out, dtype=torch.float32)
