"""Batches that follow from the step number alone, so that a resumed run needs only its step to go on in the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_STEPS_PER_SEED = 1_000_003  # runs of fewer steps with different seeds share no draw
_GROUPS = torch.tensor([24, 40])  # upper bounds of caption lengths, in tokens, of captions encoded together


@dataclass(frozen=True)
class Batch:
    """Samples of a step, ordered by groups of caption length.

    Attributes:
        latents: (B, C, H, W), in the precision in which they are stored.
        noise_levels: (B,).
        ids: token ids (B, L).
        lengths: tokens of each caption (B,), start and end included; on the CPU, so that shapes are known without
            waiting for the device.
    """

    latents: Tensor
    noise_levels: Tensor
    ids: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, latents: Tensor, noise_levels: Tensor, ids: Tensor, end_token: int) -> Batch:
        """Make a batch on the CPU; samples are reordered where their captions differ much in length."""
        lengths = (ids != end_token).sum(1) + 1  # the end token is also the padding; one of them counts
        groups = torch.bucketize(lengths, _GROUPS)
        if groups.min() == groups.max():
            return cls(latents, noise_levels, ids, lengths)
        order = groups.argsort(stable=True)
        return cls(*(part[order] for part in (latents, noise_levels, ids, lengths)))

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def texts(self) -> list[Tensor]:
        """Token ids in groups of captions of similar length, in order, each cut to its longest caption.

        Attention is causal: tokens after the end token change nothing.
        """
        groups = torch.bucketize(self.lengths, _GROUPS)
        sizes = groups.bincount().tolist()
        parts = zip(self.ids.split(sizes), self.lengths.split(sizes), strict=True)
        return [ids[:, : int(lengths.max())] for ids, lengths in parts if len(ids)]

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to ``device``, to a GPU without waiting for it; ``lengths`` stay on the CPU."""

        def moved(part: Tensor) -> Tensor:
            return (part.pin_memory() if device.type == "cuda" else part).to(device, non_blocking=True)

        return Batch(moved(self.latents), moved(self.noise_levels), moved(self.ids), self.lengths)

    def split(self, size: int) -> list[Batch]:
        """Split the batch into parts of at most ``size`` samples, in order."""
        parts = (part.split(size) for part in (self.latents, self.noise_levels, self.ids, self.lengths))
        return [Batch(*part) for part in zip(*parts, strict=True)]


class Bucket(Protocol):
    """Samples of one shape."""

    replaced: int  # number of latents so far that were not finite, and were replaced by others

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of every latent."""

    def __len__(self) -> int: ...

    def draw(self, rows: Tensor, choice: Tensor) -> Batch:
        """Read the samples ``rows`` (B,) on the CPU; ``choice`` (B,), in [0, 1), picks one of each one's captions."""


@dataclass(frozen=True)
class BatchSource:
    """The batches of all steps, or the ``index``-th of ``count`` equal parts of each, for one of several processes."""

    buckets: Sequence[Bucket]
    seed: int
    index: int = 0
    count: int = 1

    def batch(self, step: int, size: int) -> Batch:
        """Draw this process's part of a step's batch: samples with replacement, and one caption of each.

        A batch holds latents of one shape; each shape is drawn in proportion to its number of samples.

        Args:
            step: the step.
            size: samples in the batch of all processes together.
        """
        generator = torch.Generator().manual_seed(self.seed * _STEPS_PER_SEED + step)
        bucket = self.buckets[0] if len(self.buckets) == 1 else self._pick(generator)
        rows = torch.randint(len(bucket), (size,), generator=generator)
        choice = torch.rand(size, generator=generator)
        part_size = size // self.count
        part = slice(self.index * part_size, (self.index + 1) * part_size)
        return bucket.draw(rows[part], choice[part])

    def _pick(self, generator: torch.Generator) -> Bucket:
        sizes = torch.tensor([float(len(bucket)) for bucket in self.buckets], dtype=torch.float64)
        return self.buckets[int(torch.multinomial(sizes, 1, generator=generator))]


def read_ahead(draw: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
    """Yield the batches of ``steps``; while one is trained on, a thread draws the next."""
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(draw, steps.start) if steps else None
        for step in steps:
            assert pending is not None
            batch = pending.result()
            pending = reader.submit(draw, step + 1) if step + 1 < steps.stop else None
            yield batch
