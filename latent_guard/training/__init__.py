"""Training a Latent-CLIP: latents and captions in shards, a recipe, one loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.training.evaluation import ZeroShotEvaluation
    from latent_guard.training.loop import train
    from latent_guard.training.recipe import Recipe, shipped_recipes

__all__ = ["Recipe", "ZeroShotEvaluation", "shipped_recipes", "train"]

_MODULES = {
    "evaluation": ("ZeroShotEvaluation",),
    "loop": ("train",),
    "recipe": ("Recipe", "shipped_recipes"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
