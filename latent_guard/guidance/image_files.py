"""Files of pictures that others made, as the squares that a Latent-CLIP reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.files.images import SUFFIXES, frames, opened_picture
from latent_guard.files.upright import upright_rgb
from latent_guard.pipelines import vae as autoencoder

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from latent_guard.latent_clip.model import LatentCLIP

MAX_FRAMES = 256  # of one animation, or sizes of one icon: each is judged


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Everything of these kinds in a folder and those in it, in order; what is no plain file shows when it is read."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.is_dir())


def squares(source: Path | bytes, side: int) -> Iterator[Tensor]:
    """Each frame of a picture, or size of an icon, as (3, side, side) uint8, the whole of it.

    ``source`` is a plain file, or its bytes.

    Raises:
        InputError: it cannot be read, or has more than ``MAX_FRAMES``.
    """
    return (_square(frame, side) for frame in frames(source, MAX_FRAMES, side))


@torch.no_grad()
def features_of_pictures(model: LatentCLIP, vae: Any, folder: Path) -> Tensor:
    """L2-normalised features (n, D), on the CPU, of the pictures of a folder, as ``Moderator`` would see them.

    Raises:
        InputError: a picture that cannot be read, or that moves: which frame shows the concept is not known.
    """
    side = model.config.pixels
    features = [torch.empty(0, model.config.embed_dim)]
    for path in files_below(folder, SUFFIXES):
        try:
            picture = _still(path, side)
        except InputError as error:
            raise InputError(f"{path}: {error}; remove it") from error
        raw = autoencoder.encode(vae, picture).to(model.logit_scale.device)
        features.append(model.encode_latents(raw, 0.0, normalize=True).float().cpu())
    return torch.cat(features)


def _still(path: Path, side: int) -> Tensor:
    """(1, 3, side, side) uint8. A camera's JPEG may hold further pictures; then it is the one that viewers show."""
    with opened_picture(path, side) as picture:
        if picture.format != "MPO" and (count := getattr(picture, "n_frames", 1)) > 1:
            raise InputError(f"it has {count} frames, and at most 1 can be read; split it up")
        return _square(picture, side)[None]


def _square(picture: Picture, side: int) -> Tensor:
    """(3, side, side) uint8, the whole of it."""
    import numpy as np
    from PIL import Image

    whole = upright_rgb(picture, side).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(whole)).permute(2, 0, 1)
