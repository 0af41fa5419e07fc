"""Is this the VAE whose latents the Latent-CLIP reads? And what its latent of nothing looks like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from latent_guard.errors import CheckpointError, LatentSpaceMismatchError
from latent_guard.latent_clip.decoding import without_overflow

LARGEST_RELATIVE_ERROR = 0.1  # half precision moves a latent by about 1e-3, another VAE by about 1
MID_GRAY = 128
CANARY_FILE = "canary.safetensors"


@dataclass(frozen=True)
class Canary:
    """A picture (3, H, W) uint8 and its raw latent (C, H/f, W/f) under the VAE that belongs to a Latent-CLIP."""

    picture: Tensor
    latent: Tensor

    @classmethod
    def made_by(cls, vae: Any, picture: Tensor) -> Canary:
        """The canary of a VAE, from any uint8 picture (3, H, W)."""
        return cls(picture, encode_pictures(vae, picture[None], vae.device)[0].cpu())

    def save(self, folder: Path) -> None:
        """Write `canary.safetensors` into a guard folder."""
        save_file({"picture": self.picture.contiguous(), "latent": self.latent.contiguous()}, folder / CANARY_FILE)

    @classmethod
    def load(cls, folder: Path) -> Canary:
        """Read `canary.safetensors` of a guard folder; `CheckpointError` if it is missing or damaged."""
        try:
            tensors = load_file(folder / CANARY_FILE)
            return cls(tensors["picture"], tensors["latent"].float())
        except Exception as error:  # safetensors raises its own class, OSError or KeyError by the kind of damage
            raise CheckpointError(
                f"cannot read {folder / CANARY_FILE} ({type(error).__name__}: {error}); fetch the guard's folder anew, "
                "or train on shards of `latent-guard encode`, which keep one"
            ) from error

    def check(self, vae: Any, device: torch.device) -> None:
        """Raise `LatentSpaceMismatchError` if `vae` encodes the picture too far from the stored latent."""
        raw = encode_pictures(vae, self.picture[None], device)[0].cpu()
        if raw.shape == self.latent.shape:
            error = float((raw - self.latent).norm() / self.latent.norm())
            if error <= LARGEST_RELATIVE_ERROR:
                return
            found = f"its latent of the test picture is off by {error:.0%}"
        else:
            found = f"its latents are {tuple(raw.shape)}, not {tuple(self.latent.shape)}"
        raise LatentSpaceMismatchError(
            f"this pipeline's VAE is not the one that the guard was trained on: {found}; "
            "use the VAE that belongs to the guard, or a guard made for this VAE"
        )


@torch.no_grad()
def encode_pictures(vae: Any, pictures: Tensor, device: torch.device) -> Tensor:
    """Raw latents (N, C, h, w), float32, of uint8 pictures (N, 3, H, W): the posterior's mode, no random numbers."""
    images = pictures.to(device, torch.float32) / 127.5 - 1.0
    with without_overflow(vae):
        encoded = vae.encode(images.to(vae.dtype))
    mode: Tensor = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latent  # AutoencoderDC
    return mode.float()


def gray_latent(vae: Any, device: torch.device, size: int) -> Tensor:
    """The raw latent (C, 1, 1) of a mid-gray picture: the mean over the places of a size x size one."""
    picture = torch.full((1, 3, size, size), MID_GRAY, dtype=torch.uint8)
    return encode_pictures(vae, picture, device)[0].mean(dim=(1, 2), keepdim=True)
