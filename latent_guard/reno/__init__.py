"""Reward-based noise optimisation: better initial noise for one-step and few-step pipelines, found from latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.reno.optimise import RenoSettings, optimise_noise
    from latent_guard.reno.result import OptimisedNoise
    from latent_guard.reno.rewards import FunctionReward, LatentClipReward, PixelClipReward, Reward, SafetyReward

__all__ = [
    "FunctionReward",
    "LatentClipReward",
    "OptimisedNoise",
    "PixelClipReward",
    "RenoSettings",
    "Reward",
    "SafetyReward",
    "optimise_noise",
]

_MODULES = {
    "optimise": ("RenoSettings", "optimise_noise"),
    "result": ("OptimisedNoise",),
    "rewards": ("FunctionReward", "LatentClipReward", "PixelClipReward", "Reward", "SafetyReward"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
