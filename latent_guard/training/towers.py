"""Both towers as one module with one ``forward``, which is what DDP and torch.compile take hold of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from latent_guard.latent_clip.model import LatentCLIP

# Where a sigmoid loss starts: SigLIP (Zhai et al. 2023), section 3.2
SIGMOID_SCALE, SIGMOID_BIAS = math.log(10), -10.0
VARIANTS = 32  # that torch.compile may make of a tower before it gives up


class Features(NamedTuple):
    """What a contrastive loss reads.

    images, texts: of length one, float32 (B, D). scale, bias: what similarities are multiplied by, and what is added
    (None: nothing); scalars.
    """

    images: Tensor
    texts: Tensor
    scale: Tensor
    bias: Tensor | None


class Towers(nn.Module):
    """A Latent-CLIP in training."""

    def __init__(self, model: LatentCLIP, precision: str, *, sigmoid: bool = False) -> None:
        """``precision``: ``bf16`` (autocast) or ``fp32``; ``sigmoid``: with the bias that a sigmoid loss needs."""
        super().__init__()
        self.model = model
        self.autocasts = precision == "bf16"
        self.logit_bias = nn.Parameter(torch.tensor(SIGMOID_BIAS)) if sigmoid else None

    def forward(self, latents: Tensor, noise_levels: Tensor, texts: Sequence[Tensor]) -> Features:
        """Features of latents (B, C, H, W) at noise levels (B,), and of B texts in groups, token ids (b, L) each."""
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=self.autocasts):
            images = self.model.encode_latents(latents, noise_levels)
            words = torch.cat([self.model.encode_text(ids) for ids in texts])
        images, words = (normalize(features.float(), dim=-1) for features in (images, words))
        return Features(images, words, self.model.logit_scale.exp(), self.logit_bias)

    def compile_both(self, *, alone: bool) -> None:
        """Run each tower through torch.compile, for batches and texts of any length; ``alone``: not within DDP.

        Each for itself: the number of text groups changes from batch to batch, and would have the whole compiled anew.
        """
        if not alone:  # DDP's own splitting of graphs and recomputed activations do not go together (pytorch #104674)
            torch._dynamo.config.optimize_ddp = False
        # a few variants remain: with and without gradients, a single row, each size's positions
        torch._dynamo.config.cache_size_limit = max(VARIANTS, torch._dynamo.config.cache_size_limit)
        self.model.visual.compile(dynamic=True)
        self.model.text.compile(dynamic=True)

    def checkpoint_gradients(self) -> None:
        """Compute each block's activations again in the backward pass instead of keeping them."""
        self.model.visual.set_grad_checkpointing(True)
        self.model.text.set_grad_checkpointing(True)
