"""The names of the rewards, which commands and specs read without loading torch."""

from __future__ import annotations

LATENT_CLIP = "latent-clip"
PIXEL_CLIP = "pixel-clip"
SAFETY = "safety"
REWARDS = (LATENT_CLIP, PIXEL_CLIP, SAFETY)
