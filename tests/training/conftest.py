from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace
from latent_guard.training.data.shards import ShardWriter
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from tests.training.toy import COLOURS, MODEL, write_shards


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


@pytest.fixture
def recipe(shards: Path, tmp_path: Path) -> Recipe:
    return Recipe(
        data=[str(shards)],
        out=str(tmp_path / "out"),
        model=MODEL,
        steps=12,
        batch_size=16,
        learning_rate=3e-3,
        warmup=3,
    )


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP on pixels with the towers of MODEL: 8x8 pixels in patches of 4."""
    out = tmp_path_factory.mktemp("twin")
    data = write_shards(out / "pixels", (3, 8, 8), PIXELS)
    model = {**MODEL, "vision": {**MODEL["vision"], "patch_size": 4}}
    train(Recipe([str(data)], str(out / "model"), model, steps=1, batch_size=8, learning_rate=1e-3))
    return out / "model"
