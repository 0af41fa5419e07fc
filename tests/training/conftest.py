from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.training.shards import ShardWriter

COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of latents, each its own mean, with two captions a sample."""
    folder = tmp_path_factory.mktemp("shards")
    generator = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(4, 4, 1, 1, generator=generator)
    with ShardWriter(folder, LatentSpace("toy VAE", 4, 8), samples_per_shard=24) as writer:
        for number in range(64):
            colour = number % 4
            latent = means[colour] + 0.3 * torch.randn(4, 4, 4, generator=generator)
            captions = [f"a {COLOURS[colour]} picture", f"the colour {COLOURS[colour]}"]
            writer.add(latent[None], [captions], torch.rand(1, generator=generator))
    return folder
