from __future__ import annotations

import pytest

from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.tokenizer import trimmed_vocab_size


@pytest.fixture(scope="session")
def tiny_config() -> LatentCLIPConfig:
    return LatentCLIPConfig(
        embed_dim=16,
        vision=VisionConfig(channels=4, size=8, patch_size=4, width=32, layers=1, heads=2),
        text=TextConfig(context_length=16, vocab_size=trimmed_vocab_size(500), width=32, layers=2, heads=2),
        latent_space=LatentSpace("toy VAE", channels=4, factor=8),
        reads_noise_level=True,
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_config: LatentCLIPConfig) -> LatentCLIP:
    return LatentCLIP(tiny_config).eval()
