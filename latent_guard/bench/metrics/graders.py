"""The CLIP that grades pictures, by name: for CLIP score, diversity and KID, and for nothing that a method does."""

from __future__ import annotations

from pathlib import Path

from latent_guard.bench.metrics.clip_features import PictureCLIP
from latent_guard.errors import InputError

EMOJI_GRADER = "emoji-grader"


def open_grader(name: str, device: str = "cpu") -> PictureCLIP:
    """``emoji-grader``, the embedded world's, which no method reads; or open_clip's ``MODEL:PRETRAINED`` and the like.

    Raises:
        InputError: there is no such CLIP.
        CheckpointError: its weights are not there, or damaged.
    """
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.worlds.emoji.bundle import grader_folder
    from latent_guard.zero_shot.pixel_clip import from_open_clip, is_open_clip

    if name == EMOJI_GRADER:
        clip = LatentCLIP.from_pretrained(Path(grader_folder()), device=device)
        return PictureCLIP(clip, f"{EMOJI_GRADER} {clip.fingerprint()}", clip.config.vision.size, device)
    if is_open_clip(name):
        found = from_open_clip(name, device)
        return PictureCLIP(found.model, found.name, found.side, device)
    raise InputError(
        f"grader: {name!r} is neither {EMOJI_GRADER} nor open_clip's MODEL:PRETRAINED or hf-hub:owner/name"
    )
