"""A model and latents small enough to be learnt in a second."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.data.shards import LatentDataset, ShardWriter

MODEL = {
    "embed_dim": 16,
    "vision": {"patch_size": 2, "width": 32, "layers": 1, "heads": 2},
    "text": {"context_length": 16, "width": 32, "layers": 1, "heads": 2},
}
COLOURS = ("red", "green", "blue", "yellow")


def write_shards(folder: Path, shape: tuple[int, int, int], space: LatentSpace | None = None) -> Path:
    """Sixteen samples of each colour, as in ``shards``."""
    generator = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(4, 4, 1, 1, generator=generator)[:, : shape[0]]
    with ShardWriter(folder, space or LatentSpace("toy VAE", shape[0], 8)) as writer:
        for number in range(64):
            latent = means[number % 4] + 0.3 * torch.randn(shape, generator=generator)
            writer.add(latent[None], [[f"a {COLOURS[number % 4]} picture"]])
    return folder


def labels_of(data: LatentDataset) -> torch.Tensor:
    return torch.tensor([next(i for i, c in enumerate(COLOURS) if c in texts[0]) for texts in data.captions])


def losses_in(out: Path) -> list[str]:
    with open(out / "curve.csv") as file:
        return [row["loss"] for row in csv.DictReader(file)]


def same_weights(one: LatentCLIP, other: LatentCLIP) -> bool:
    return all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())
