"""Rendered scenes in memory, from which the world's training loops draw their batches."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latent_guard.worlds.emoji.sampling import Sample, training_samples
from latent_guard.worlds.emoji.scenes import Variety, render


@dataclass(frozen=True)
class Pool:
    """Samples with their pictures, (N, 3, 64, 64) uint8."""

    samples: list[Sample]
    pictures: Tensor

    def __len__(self) -> int:
        return len(self.samples)


def draw_pool(seed: int, count: int, variety: Variety, *, keep_held_out: bool = False) -> Pool:
    """Render ``count`` scenes of a seed."""
    stream = training_samples(seed, variety, keep_held_out=keep_held_out)
    samples = list(itertools.islice(stream, count))
    pictures = np.stack([render(sample.scene) for sample in samples])
    return Pool(samples, torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous())
