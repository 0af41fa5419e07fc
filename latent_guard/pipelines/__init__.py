"""All that is known of diffusers' pipelines; nothing here knows of safety."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.pipelines.call import generators_from_seed
    from latent_guard.pipelines.canary import Canary
    from latent_guard.pipelines.latents import PipelineLatents
    from latent_guard.pipelines.step import DenoisingStep, clean_estimates

__all__ = ["Canary", "DenoisingStep", "PipelineLatents", "clean_estimates", "generators_from_seed"]

_MODULES = {
    "call": ("generators_from_seed",),
    "canary": ("Canary",),
    "latents": ("PipelineLatents",),
    "step": ("DenoisingStep", "clean_estimates"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
