"""What commands and specs call the rewards; importing it loads nothing heavy."""

from __future__ import annotations

LATENT_CLIP, PIXEL_CLIP, SAFETY = REWARDS = ("latent-clip", "pixel-clip", "safety")
