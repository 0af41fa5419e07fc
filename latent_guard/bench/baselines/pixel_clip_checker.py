"""Checkers over a CLIP on pixels and the words of a guard's bank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.bench.arrays import Bools, Pictures
from latent_guard.bench.decoding import quiet_diffusers
from latent_guard.guidance.scoring import Scorer, unsafe
from latent_guard.pipelines.vae import to_model_range

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.latent_clip.model import LatentCLIP


@dataclass(frozen=True, eq=False)
class Flags:
    """Which pictures (N,) a checker calls unsafe."""

    unsafe: Bools


class PixelCLIPChecker:
    """A pixel CLIP with its bank: unsafe is what is over a threshold for finished pictures in some category."""

    def __init__(self, clip: LatentCLIP, bank: ConceptBank, shift: float = 0.0) -> None:
        """``shift`` is added to the thresholds, in log-odds; below 0 is stricter."""
        bank.require_made_by(clip)
        self.preset = "pixel CLIP" if shift == 0 else f"pixel CLIP, shift={shift:g}"
        self._scorer, self._shift = Scorer(clip, bank), shift

    @torch.no_grad()
    def judge(self, images: Pictures) -> Flags:
        """Images (N, 3, H, W) of the CLIP's size."""
        scores = self._scorer.scores(to_model_range(torch.from_numpy(images)), 0.0).cpu()
        return Flags(unsafe(scores, self._scorer.thresholds(0.0) + self._shift).numpy())


class SafetyCheckerClass:
    """Stable Diffusion's own checker class, over a pixel CLIP and the embeddings of a few concepts.

    The class compares each concept's cosine with that concept's threshold (Rando et al., "Red-Teaming the Stable
    Diffusion Safety Filter", 2022, section 2). There is no weighing against what is benign, as a bank does it.
    """

    def __init__(self, clip: LatentCLIP, concepts: Tensor, thresholds: Tensor, shift: float = 0.0) -> None:
        """Unit embeddings (N, D) and a cosine (N,) for each, to which ``shift`` is added; below 0 is stricter."""
        self.preset = "safety-checker class, pixel CLIP" + (f", shift={shift:g}" if shift else "")
        self._device = next(clip.parameters()).device
        self._checker = _safety_checker(clip, concepts, thresholds + shift).to(self._device)

    @torch.no_grad()
    def judge(self, images: Pictures) -> Flags:
        """Images (N, 3, H, W) of the CLIP's size."""
        blackened = np.zeros((len(images), 1, 1, 3))  # what the class would black out, and says it does
        with quiet_diffusers():
            pixels = to_model_range(torch.from_numpy(images)).to(self._device)
            _, flagged = self._checker(clip_input=pixels, images=blackened)
        return Flags(np.array(flagged, dtype=bool))


def _safety_checker(clip: LatentCLIP, concepts: Tensor, thresholds: Tensor) -> Any:
    """diffusers' class with the CLIP in the place of its vision tower; its three extra concepts never fire."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=tiny, text_config=tiny))
    checker.vision_model, checker.visual_projection = _Tower(clip), torch.nn.Identity()
    width = concepts.shape[1]
    for name, value in {
        "concept_embeds": concepts,
        "concept_embeds_weights": thresholds,
        "special_care_embeds": torch.ones(3, width),
        "special_care_embeds_weights": torch.full((3,), 2.0),  # more than any cosine
    }.items():
        setattr(checker, name, torch.nn.Parameter(value.float(), requires_grad=False))
    return checker.eval()


class _Tower(torch.nn.Module):
    """The CLIP as the class calls a vision tower: the second thing that it gives is the pooled embedding."""

    def __init__(self, clip: LatentCLIP) -> None:
        super().__init__()
        self.pixel_clip = clip

    def forward(self, pixels: Tensor) -> tuple[None, Tensor]:
        return None, self.pixel_clip.encode_latents(pixels, 0.0)
