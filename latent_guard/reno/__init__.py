"""Reward-based noise optimisation: better initial noise for one-step and few-step pipelines, found from latents.

The names of the rewards stand here, where commands and specs can read them without loading torch.
"""

from __future__ import annotations

LATENT_CLIP = "latent-clip"
PIXEL_CLIP = "pixel-clip"
SAFETY = "safety"
REWARDS = (LATENT_CLIP, PIXEL_CLIP, SAFETY)
