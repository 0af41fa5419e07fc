"""Latents of other sizes than a model was trained on: whole patches, and position embeddings for their grid.

Shapes: B images, C latent channels, H and W latent positions, p positions along one side of a patch, D the width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def whole_patches(latents: Tensor, patch: int) -> Tensor:
    """Latents (B, C, H, W) with their last row and column repeated until H and W are multiples of p.

    Nothing is cut away: a guard has to see the edges too.
    """
    for side in (2, 3):
        if missing := -latents.shape[side] % patch:
            edge = latents.narrow(side, latents.shape[side] - 1, 1)
            latents = torch.cat([latents, edge.expand(*(missing if n == side else -1 for n in range(4)))], dim=side)
    return latents


def resized_embedding(embedding: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings (1 + n n, D) of the class token and a square grid, for a grid of other rows and columns.

    Bicubic with antialiasing, as in open_clip's ``resize_pos_embed``; the class token's stays as it is.
    """
    side = round((len(embedding) - 1) ** 0.5)
    picture = embedding[1:].unflatten(0, (side, side)).permute(2, 0, 1)[None]
    exact = picture if picture.dtype == torch.float64 else picture.float()  # no kernel for half precision
    other = interpolate(exact, size=grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([embedding[:1], other[0].permute(1, 2, 0).flatten(0, 1).to(embedding.dtype)])
