"""Batches of a latent dataset: tokenised once, drawn from the step number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.training.shards import LatentDataset

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_TEXTS_AT_A_TIME = 10_000
_STEPS_PER_SEED = 1_000_003  # no two runs of fewer steps share a draw


@dataclass(frozen=True)
class Batch:
    """latents float32 (B, C, H, W), noise_levels (B,), token ids (B, L) with L the longest caption's tokens."""

    latents: Tensor
    noise_levels: Tensor
    ids: Tensor


@dataclass(frozen=True)
class BatchSource:
    """A dataset as tensors on one device, ready to be indexed.

    Sample i's captions are ``caption_of[first[i] : first[i] + count[i]]``, indices into ``ids``, the token ids of all
    distinct captions. What decides shapes and draws stays on the CPU, so that drawing never waits for a GPU.
    """

    latents: Tensor
    noise_levels: Tensor
    ids: Tensor
    lengths: Tensor
    caption_of: Tensor
    first: Tensor
    count: Tensor
    seed: int

    @classmethod
    def of(cls, dataset: LatentDataset, tokenizer: CLIPTokenizer, device: torch.device, seed: int) -> BatchSource:
        """Tokenise every distinct caption once and move the data to ``device``."""
        number: dict[str, int] = {}
        caption_of = [number.setdefault(text, len(number)) for texts in dataset.captions for text in texts]
        distinct = list(number)
        chunks = [distinct[i : i + _TEXTS_AT_A_TIME] for i in range(0, len(distinct), _TEXTS_AT_A_TIME)]
        ids = torch.cat([tokenize(tokenizer, chunk) for chunk in chunks])
        lengths = (ids != tokenizer.eos_token_id).sum(1) + 1  # the end token pads too; keep one
        count = torch.tensor([len(texts) for texts in dataset.captions])
        return cls(
            latents=dataset.latents.contiguous().to(device),
            noise_levels=dataset.noise_levels.to(device),
            ids=ids.to(device),
            lengths=lengths,
            caption_of=torch.tensor(caption_of),
            first=count.cumsum(0) - count,
            count=count,
            seed=seed,
        )

    def batch(self, step: int, size: int) -> Batch:
        """Step ``step``'s batch: samples with replacement, one caption of each, from (seed, step) alone."""
        generator = torch.Generator().manual_seed(self.seed * _STEPS_PER_SEED + step)
        rows = torch.randint(len(self.count), (size,), generator=generator)
        choice = (torch.rand(size, generator=generator) * self.count[rows]).long()
        captions = self.caption_of[self.first[rows] + choice]
        length = int(self.lengths[captions].max())  # attention is causal: what follows the end token changes nothing
        device = self.latents.device
        rows, captions = rows.to(device, non_blocking=True), captions.to(device, non_blocking=True)
        return Batch(self.latents[rows].float(), self.noise_levels[rows], self.ids[captions, :length])
