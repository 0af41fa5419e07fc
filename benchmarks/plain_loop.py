"""The training loop to compare with: open_clip's stock towers and loss, nothing done for speed.

The model is open_clip's own class, its stem changed to latent channels; the step is that of the training script that
comes with open_clip: autocast round towers and loss, captions padded to the whole context, AdamW.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.loss import ClipLoss
from torch import Tensor, nn

from latent_guard.latent_clip.config import LatentCLIPConfig
from latent_guard.training.optimizers import BETAS, EPS, MAX_GRADIENT_NORM, MAX_LOGIT_SCALE

WEIGHT_DECAY = 0.2


def stock_model(config: LatentCLIPConfig) -> Any:
    """open_clip's CLIP of the same shape; there an image is a square of so many latent positions."""
    vision, text = config.vision, config.text
    clip = open_clip.CLIP(
        config.embed_dim,
        {
            "image_size": vision.size,
            "patch_size": vision.patch_size,
            "width": vision.width,
            "layers": vision.layers,
            "head_width": vision.width // vision.heads,
        },
        {
            "context_length": text.context_length,
            "vocab_size": text.vocab_size,
            "width": text.width,
            "layers": text.layers,
            "heads": text.heads,
        },
    )
    clip.visual.conv1 = nn.Conv2d(vision.channels, vision.width, vision.patch_size, vision.patch_size, bias=False)
    return clip


@dataclass
class PlainLoop:
    """One training step; ``forward`` is the model, or what torch.compile made of it."""

    model: Any
    forward: Any
    batches: Iterator[tuple[Tensor, Tensor]]

    def __post_init__(self) -> None:
        decays = [p for p in self.model.parameters() if p.ndim >= 2]
        others = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": decays, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=BETAS, eps=EPS)
        self.loss = ClipLoss()

    def step(self) -> None:
        self.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)

    def backward(self) -> None:
        latents, ids = next(self.batches)
        with torch.autocast(latents.device.type, torch.bfloat16):
            loss = self.loss(*self.forward(latents, ids))
        loss.backward()
