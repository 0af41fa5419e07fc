"""The published Latent-CLIPs, by name and by hub id ("Controlling Latent Diffusion Using Latent CLIP", section 3)."""

from __future__ import annotations

from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import PUBLISHED

_CONTEXT, _VOCABULARY = 77, 49408  # OpenAI CLIP's

PRESETS = {
    # 512-pixel images as 64 x 64 latents of SDXL's VAE; towers of open_clip's ViT-B-16 (the plus: its text tower is
    # ViT-B-16-plus's, its image tower the base model's, with smaller patches)
    "latent-vit-b-8": LatentCLIPConfig(
        embed_dim=512,
        vision=VisionConfig(channels=4, size=64, patch_size=8, width=768, layers=12, heads=12),
        text=TextConfig(context_length=_CONTEXT, vocab_size=_VOCABULARY, width=512, layers=12, heads=8),
        latent_space=PUBLISHED["SDXL"],
        reads_noise_level=False,
    ),
    "latent-vit-b-4-plus": LatentCLIPConfig(
        embed_dim=640,
        vision=VisionConfig(channels=4, size=64, patch_size=4, width=768, layers=12, heads=12),
        text=TextConfig(context_length=_CONTEXT, vocab_size=_VOCABULARY, width=640, layers=12, heads=10),
        latent_space=PUBLISHED["SDXL"],
        reads_noise_level=False,
    ),
}
HUB_IDS = {
    "wendlerc/latent-clip-b-8-512-34b-80k": "latent-vit-b-8",
    "wendlerc/latent-clip-b-4-512-plus-34b-80k": "latent-vit-b-4-plus",
}
