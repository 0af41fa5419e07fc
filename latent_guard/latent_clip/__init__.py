"""Latent-CLIP: images and text in one space, the images read as latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.latent_clip.adapter import LatentAdapter
    from latent_guard.latent_clip.adapter_fit import fit_adapter
    from latent_guard.latent_clip.config import LatentCLIPConfig
    from latent_guard.latent_clip.latent_space import LatentSpace
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.latent_clip.model_card import TrainingFacts

__all__ = ["LatentAdapter", "LatentCLIP", "LatentCLIPConfig", "LatentSpace", "TrainingFacts", "fit_adapter"]

_MODULES = {
    "adapter": ("LatentAdapter",),
    "adapter_fit": ("fit_adapter",),
    "config": ("LatentCLIPConfig",),
    "latent_space": ("LatentSpace",),
    "model": ("LatentCLIP",),
    "model_card": ("TrainingFacts",),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
