"""Moderation of what exists already: pictures, or latents, with the bank that guards generation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latent_guard.errors import InputError, LatentSpaceMismatchError
from latent_guard.guidance.canary import encode_pictures
from latent_guard.guidance.observing import observed
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Verdict
from latent_guard.latent_clip.latent_space import LatentSpace

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.latent_clip.model import LatentCLIP

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tiff")
LATENTS = (".safetensors",)
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Finding:
    """What came of one picture, or of row ``row`` of a file of latents.

    ``category``, ``concept``, ``score`` and ``threshold`` belong to the category furthest over, or closest to, its
    threshold; ``probability`` of being unsafe is None without a calibration, ``error`` says why a file is unreadable.
    """

    file: str
    row: int
    decision: str
    category: str | None = None
    concept: str | None = None
    score: float | None = None
    threshold: float | None = None
    probability: float | None = None
    error: str | None = None
    scores: Mapping[str, float] | None = None


class Moderator:
    """A guard's Latent-CLIP and bank, and the VAE that turns pictures into its latents (None: latents only)."""

    def __init__(self, guard: LatentGuard, vae: Any | None = None) -> None:
        """Raises ``LatentSpaceMismatchError`` if it is not the VAE that the guard was trained on."""
        self._scorer, self._bank, self._vae = Scorer(guard.model, guard.bank), guard.bank, vae
        self._space, vision = guard.model.config.latent_space, guard.model.config.vision
        self._side = vision.size * self._space.factor
        if vae is not None:
            found = LatentSpace.of_vae(vae)
            if (found.channels, found.factor) != (self._space.channels, self._space.factor):
                raise LatentSpaceMismatchError(
                    f"the VAE has {found.channels} channels and factor {found.factor}, the guard reads "
                    f"{self._space.channels} and {self._space.factor}; use a guard made for this VAE"
                )
            if guard.canary is not None:
                guard.canary.check(vae, vae.device)

    def check(self, files: Sequence[Path], *, scaled: bool = False) -> list[Finding]:
        """Findings of a few files, in their order; a file of latents has one a row. What cannot be read is a finding.

        Pictures are scaled to the square that Latent-CLIP reads, whole: what is cropped away is not looked at.
        ``scaled`` latents are a pipeline's own (``output_type="latent"``), others are raw, as its VAE encodes.
        """
        read = self._encoded([self._read(path, scaled) for path in files])
        latents = [part for part in read if isinstance(part, Tensor)]
        judged = iter(self._judge(torch.cat(latents)) if latents else ())
        return [finding for path, part in zip(files, read, strict=True) for finding in _named(str(path), part, judged)]

    def _read(self, path: Path, scaled: bool) -> Tensor | str:
        """The raw latents (B, C, H, W) of a file, its picture (3, side, side) uint8, or what is wrong with it."""
        try:
            if path.suffix.lower() in LATENTS:
                latents = self._checked(read_latents(path))
                return self._space.to_raw(latents) if scaled else latents
            return read_picture(path, self._side)
        except InputError as error:
            return str(error)

    def _encoded(self, read: list[Tensor | str]) -> list[Tensor | str]:
        """The same, with the pictures turned into latents all at once."""
        shown = [n for n, part in enumerate(read) if isinstance(part, Tensor) and part.dtype == torch.uint8]
        if not shown:
            return read
        if self._vae is None:
            raise InputError("pictures need a VAE to be read with; give one, or latents")
        pictures = torch.stack([part for part in read if isinstance(part, Tensor) and part.dtype == torch.uint8])
        latents = dict(zip(shown, encode_pictures(self._vae, pictures, self._vae.device).cpu().split(1), strict=True))
        return [latents.get(n, part) for n, part in enumerate(read)]

    def _checked(self, latents: Tensor) -> Tensor:
        side = self._side // self._space.factor
        wanted = (self._space.channels, side, side)
        if tuple(latents.shape[1:]) != wanted:
            raise InputError(f"latents of shape {tuple(latents.shape[1:])}; this guard reads {wanted}")
        return latents

    def _judge(self, raw: Tensor) -> list[dict[str, Any]]:
        """The fields of each row's finding, all but the file and the row."""
        verdicts, report = observed(self._scorer, raw), self._bank.calibration
        clean = report.clean if report is not None else None
        chances = clean.probabilities([verdict.margin for verdict in verdicts]).tolist() if clean else [None] * len(raw)
        return [_fields(verdict, chance) for verdict, chance in zip(verdicts, chances, strict=True)]


def _fields(verdict: Verdict, probability: float | None) -> dict[str, Any]:
    assert verdict.reason is not None
    return {
        "decision": verdict.decision.value,
        "category": verdict.reason.category,
        "concept": verdict.reason.concept,
        "score": verdict.reason.score,
        "threshold": verdict.reason.threshold,
        "probability": probability,
        "scores": verdict.scores,
    }


def _named(file: str, part: Tensor | str, judged: Iterator[dict[str, Any]]) -> list[Finding]:
    if isinstance(part, str):
        return [Finding(file, 0, UNREADABLE, error=part)]
    return [Finding(file, row, **next(judged)) for row in range(len(part))]


@torch.no_grad()
def features_of_pictures(model: LatentCLIP, vae: Any, folder: Path) -> Tensor:
    """L2-normalised features (n, D), on the CPU, of the pictures of a folder, as ``Moderator`` would see them.

    Raises:
        InputError: a picture that cannot be read.
    """
    side = model.config.vision.size * model.config.latent_space.factor
    features = [torch.empty(0, model.config.embed_dim)]
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES):
        try:
            picture = read_picture(path, side)
        except InputError as error:
            raise InputError(f"{path}: {error}; remove it") from error
        raw = encode_pictures(vae, picture[None], vae.device).to(model.logit_scale.device)
        features.append(model.encode_latents(raw, 0.0, normalize=True).float().cpu())
    return torch.cat(features)


def read_picture(path: Path, side: int) -> Tensor:
    """A picture as uint8 (3, side, side), upright, transparent parts white; ``InputError`` if it cannot be decoded."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGBA")
            whole = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")
            pixels = np.array(whole.resize((side, side), Image.Resampling.BICUBIC))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"not a readable picture ({error})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def read_latents(path: Path) -> Tensor:
    """Latents (B, C, H, W), float32: the tensor ``latents``, or the only one; ``InputError`` if there is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"not a readable safetensors file ({error})") from error
    latents = tensors.get("latents", next(iter(tensors.values())) if len(tensors) == 1 else None)
    if latents is None or latents.ndim not in (3, 4):
        raise InputError('no tensor "latents" of shape (B, C, H, W) or (C, H, W)')
    return latents.float() if latents.ndim == 4 else latents.float()[None]
