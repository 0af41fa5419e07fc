"""All that is known of diffusers' pipelines; nothing here knows of safety."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.pipelines.canary import Canary
    from latent_guard.pipelines.latents import PipelineLatents, latents_of
    from latent_guard.pipelines.restarts import generators_from_seed

__all__ = [
    "Canary",
    "PipelineLatents",
    "generators_from_seed",
    "latents_of",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Canary": "canary",
        "PipelineLatents": "latents",
        "generators_from_seed": "restarts",
        "latents_of": "latents",
    },
)
