"""Batches, drawn from the step number alone: a run's place in its data is the step that it has reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_STEPS_PER_SEED = 1_000_003  # no two runs of fewer steps share a draw
_GROUPS = torch.tensor([24, 40])  # longest captions, in tokens, of those that run together; most are short


@dataclass(frozen=True)
class Batch:
    """Samples, those with short captions first.

    Attributes:
        latents: (B, C, H, W), as precise as they are stored.
        noise_levels: (B,).
        ids: token ids (B, L).
        lengths: tokens of each caption (B,), start and end included; on the CPU, so that shapes follow from it without
            waiting for the device.
    """

    latents: Tensor
    noise_levels: Tensor
    ids: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, latents: Tensor, noise_levels: Tensor, ids: Tensor, end_token: int) -> Batch:
        """A batch on the CPU; samples change places where their captions differ much in length."""
        lengths = (ids != end_token).sum(1) + 1  # the end token pads too; one of them counts
        groups = torch.bucketize(lengths, _GROUPS)
        if groups.min() == groups.max():
            return cls(latents, noise_levels, ids, lengths)
        order = groups.argsort(stable=True)
        return cls(*(part[order] for part in (latents, noise_levels, ids, lengths)))

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def texts(self) -> list[Tensor]:
        """Token ids of captions of about one length together, cut behind the longest of them, in order.

        Attention is causal: what follows the end token changes nothing.
        """
        groups = torch.bucketize(self.lengths, _GROUPS)
        sizes = groups.bincount().tolist()
        parts = zip(self.ids.split(sizes), self.lengths.split(sizes), strict=True)
        return [ids[:, : int(lengths.max())] for ids, lengths in parts if len(ids)]

    def to(self, device: torch.device) -> Batch:
        """On ``device``; copied without waiting where the memory is pinned."""
        latents, noise_levels, ids = (
            (part.pin_memory() if device.type == "cuda" else part).to(device, non_blocking=True)
            for part in (self.latents, self.noise_levels, self.ids)
        )
        return Batch(latents, noise_levels, ids, self.lengths)

    def split(self, size: int) -> list[Batch]:
        """Parts of at most ``size`` samples, in order."""
        parts = (part.split(size) for part in (self.latents, self.noise_levels, self.ids, self.lengths))
        return [Batch(*part) for part in zip(*parts, strict=True)]


class Bucket(Protocol):
    """Samples of one shape."""

    replaced: int  # latents that were not finite so far, and gave way to others

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every latent."""

    def __len__(self) -> int: ...

    def draw(self, rows: Tensor, choice: Tensor) -> Batch:
        """The samples ``rows`` (B,) on the CPU, each with the caption that ``choice`` (B,), in [0, 1), falls on."""


@dataclass(frozen=True)
class BatchSource:
    """Every step's batch, or a process's share of it: the ``index``-th of ``count`` equal parts."""

    buckets: Sequence[Bucket]
    seed: int
    index: int = 0
    count: int = 1

    def batch(self, step: int, size: int) -> Batch:
        """This process's share of step ``step``'s batch of ``size``: samples with replacement, one caption of each.

        A batch holds latents of one shape; a shape's turn comes as often as the data has samples of it.
        """
        generator = torch.Generator().manual_seed(self.seed * _STEPS_PER_SEED + step)
        bucket = self.buckets[0] if len(self.buckets) == 1 else self._pick(generator)
        rows = torch.randint(len(bucket), (size,), generator=generator)
        choice = torch.rand(size, generator=generator)
        share = size // self.count
        mine = slice(self.index * share, (self.index + 1) * share)
        return bucket.draw(rows[mine], choice[mine])

    def _pick(self, generator: torch.Generator) -> Bucket:
        sizes = torch.tensor([float(len(bucket)) for bucket in self.buckets], dtype=torch.float64)
        return self.buckets[int(torch.multinomial(sizes, 1, generator=generator))]


def read_ahead(draw: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
    """The batches of ``steps``; while one is trained on, a thread draws the next."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(draw, steps.start) if steps else None
        for step in steps:
            assert coming is not None
            batch = coming.result()
            coming = reader.submit(draw, step + 1) if step + 1 < steps.stop else None
            yield batch
