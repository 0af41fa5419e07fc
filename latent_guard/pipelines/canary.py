"""Is this the VAE whose latents the Latent-CLIP reads?"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from latent_guard.errors import CheckpointError, InputError, LatentSpaceMismatchError, reason_of
from latent_guard.files.atomic import write_atomic
from latent_guard.files.plain import require_plain
from latent_guard.pipelines.vae import decode, encode, to_model_range

MAX_RELATIVE_ERROR = 0.1  # half precision moves a latent by about 1e-3, another VAE by about 1
LEAST_PSNR = 15.0  # dB; tiny autoencoders of the same latents reach more than 20, others less than 12
CANARY_FILE = "canary.safetensors"
DIGEST = "sha256"  # of both tensors, in the file's metadata
_MAX_SIDE, _MAX_LATENT = 4096, 1e4  # of the picture in pixels, and of a number of its latent


@dataclass(frozen=True)
class Canary:
    """A picture (3, H, W) uint8 and its raw latent (C, H/f, W/f) under the VAE that belongs to a Latent-CLIP."""

    picture: Tensor
    latent: Tensor

    def __post_init__(self) -> None:
        picture = self.picture
        latent = self.latent
        if picture.dtype != torch.uint8 or picture.ndim != 3 or len(picture) != 3 or max(picture.shape) > _MAX_SIDE:
            raise InputError(f"a canary's picture must be uint8 (3, H, W), not {picture.dtype} {tuple(picture.shape)}")
        if latent.ndim != 3 or not latent.is_floating_point() or not bool((latent.abs() <= _MAX_LATENT).all()):
            raise InputError("a canary's latent must be (C, H, W) of finite numbers")

    @classmethod
    def made_by(cls, vae: Any, picture: Tensor) -> Canary:
        """The canary of a VAE, from any uint8 picture (3, H, W)."""
        return cls(picture, encode(vae, picture[None])[0].cpu())

    def save(self, folder: Path) -> None:
        """Write ``canary.safetensors`` into a guard folder, whole or not at all."""
        tensors = {"picture": self.picture.contiguous(), "latent": self.latent.contiguous()}
        write_atomic(folder / CANARY_FILE, save(tensors, {DIGEST: self._digest()}))

    @classmethod
    def load(cls, folder: Path) -> Canary:
        """Read ``canary.safetensors`` of a guard folder; one without a digest, of an earlier version, with a warning.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        path = folder / CANARY_FILE
        try:
            require_plain(path)
            with safe_open(path, framework="pt") as file:
                digest = (file.metadata() or {}).get(DIGEST)
                canary = cls(file.get_tensor("picture"), file.get_tensor("latent"))
            if digest is not None and digest != canary._digest():
                raise InputError("its SHA-256 differs from the one that it was written with")
        except Exception as error:  # safetensors raises its own class, OSError or KeyError by the kind of damage
            raise CheckpointError(
                f"cannot read {path} ({type(error).__name__}: {reason_of(error)}); fetch the guard's folder anew, "
                "or train on shards of `latent-guard encode`, which keep one"
            ) from error
        if digest is None:
            warnings.warn(f"{path} carries no digest, so that a change of it would not be noticed", stacklevel=3)
        return cls(canary.picture, canary.latent.float())

    def _digest(self) -> str:
        parts = (self.picture.contiguous(), self.latent.contiguous())
        described = b"".join(f"{part.dtype} {tuple(part.shape)}\n".encode() + part.numpy().tobytes() for part in parts)
        return hashlib.sha256(described).hexdigest()

    def check(self, vae: Any, device: torch.device) -> None:
        """Raise ``LatentSpaceMismatchError`` if ``vae`` encodes the picture too far from the stored latent."""
        raw = encode(vae, self.picture[None], device)[0].cpu()
        if raw.shape == self.latent.shape:
            error = float((raw - self.latent).norm() / self.latent.norm())
            if error <= MAX_RELATIVE_ERROR:
                return
            found = f"its latent of the test picture is off by {error:.0%}"
        else:
            found = f"its latents are {tuple(raw.shape)}, not {tuple(self.latent.shape)}"
        raise LatentSpaceMismatchError(
            f"this pipeline's VAE is not the one that the guard was trained on: {found}; "
            "use the VAE that belongs to the guard, or a guard made for this VAE"
        )

    def check_decoded(self, vae: Any, latent: Tensor, device: torch.device) -> None:
        """Raise ``LatentSpaceMismatchError`` if ``vae`` decodes the canary's latent to something else than its picture.

        Args:
            vae: a tiny autoencoder, whose encoder is no measure: it only resembles the VAE.
            latent: (C, H/f, W/f) as the autoencoder takes it.
            device: where it computes.
        """
        pixels = decode(vae, latent[None].to(device))[0].cpu().clamp(-1, 1)
        if pixels.shape != self.picture.shape:
            raise LatentSpaceMismatchError(
                f"this pipeline's tiny autoencoder makes {tuple(pixels.shape)} of the canary's latent, not "
                f"{tuple(self.picture.shape)}; use the one of the guard's latents"
            )
        squared = (pixels - to_model_range(self.picture)).square().mean()
        noise_ratio = float(10 * torch.log10(4 / squared.clamp_min(1e-9)))  # peak to peak is 2
        if noise_ratio < LEAST_PSNR:
            raise LatentSpaceMismatchError(
                f"this pipeline's tiny autoencoder does not decode the guard's latents: its picture of the canary is "
                f"at {noise_ratio:.1f} dB, and at least {LEAST_PSNR:g} are wanted; use the VAE that belongs to the "
                "guard, or the tiny autoencoder of the same latents"
            )
