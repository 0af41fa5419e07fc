"""Both towers as one module with one ``forward``, as DDP and torch.compile need it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from latent_guard.latent_clip.model import LatentCLIP

# Where a sigmoid loss starts: SigLIP (Zhai et al. 2023), section 3.2
SIGMOID_SCALE = math.log(10)
SIGMOID_BIAS = -10.0
MAX_VARIANTS = 32  # compiled variants of a tower before torch.compile gives up


class Features(NamedTuple):
    """The input of a contrastive loss.

    Attributes:
        images: embeddings of length one, float32 (B, D).
        texts: embeddings of length one, float32 (B, D).
        scale: factor of the similarities, a scalar.
        bias: summand of the similarities, a scalar; None for none.
    """

    images: Tensor
    texts: Tensor
    scale: Tensor
    bias: Tensor | None


class Towers(nn.Module):
    """A Latent-CLIP in training."""

    def __init__(self, model: LatentCLIP, precision: str, *, sigmoid: bool = False) -> None:
        """Wrap a model; ``precision`` is ``bf16`` (autocast) or ``fp32``, ``sigmoid`` adds a sigmoid loss's bias."""
        super().__init__()
        self.model = model
        self.autocasts = precision == "bf16"
        self.logit_bias = nn.Parameter(torch.tensor(SIGMOID_BIAS)) if sigmoid else None

    def forward(self, latents: Tensor, noise_levels: Tensor, texts: Sequence[Tensor]) -> Features:
        """Embed latents (B, C, H, W) at noise levels (B,), and B texts in groups of token ids (b, L)."""
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=self.autocasts):
            images = self.model.encode_latents(latents, noise_levels)
            words = torch.cat([self.model.encode_text(ids) for ids in texts])
        images = normalize(images.float(), dim=-1)
        words = normalize(words.float(), dim=-1)
        return Features(images, words, self.model.logit_scale.exp(), self.logit_bias)

    def compile_both(self, *, with_ddp: bool) -> None:
        """Run each tower through torch.compile, for batches and texts of any length; ``with_ddp``: within DDP.

        The towers are compiled apart: the number of text groups changes from batch to batch, and the whole would be
        compiled again each time.
        """
        if with_ddp:  # DDP's own splitting of graphs and recomputed activations do not go together (pytorch #104674)
            torch._dynamo.config.optimize_ddp = False
        # a few variants remain: with and without gradients, a single row, each size's positions
        torch._dynamo.config.cache_size_limit = max(MAX_VARIANTS, torch._dynamo.config.cache_size_limit)
        self.model.visual.compile(dynamic=True)
        self.model.text.compile(dynamic=True)

    def checkpoint_gradients(self) -> None:
        """Compute each block's activations again in the backward pass instead of keeping them."""
        self.model.visual.set_grad_checkpointing(True)
        self.model.text.set_grad_checkpointing(True)
