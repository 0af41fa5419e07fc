"""A look at pictures, or at videos frame by frame: a video scores what its worst frame does.

A Latent-CLIP reads stills. Of a video it sees none of the motion, and its causal VAE's later latent frames stand for
several pictures each, which a Latent-CLIP of stills was not trained on.

Shapes: B pictures or videos, C latent channels, T latent frames, F of them looked at, H and W latent positions, K
categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latent_guard.guidance.scoring import Scorer

EARLY_FRAMES = 5  # of a video, looked at before its last step


@dataclass(frozen=True)
class Seen:
    """What a look saw of each picture or video (B, K): scores, nearest concepts, and of videos the latent frames."""

    scores: Tensor
    nearest: Tensor
    frames: Tensor | None = None


def look(scorer: Scorer, raw: Tensor, noise_level: float, *, final: bool) -> Seen:
    """Score raw latents (B, C, H, W), or videos (B, C, T, H, W): at the end all frames, before that some.

    A frame whose score is not finite makes that of its video infinite.

    Raises:
        GuardError: the scorer's model does not give what it should.
    """
    if raw.ndim == 4:
        return Seen(*scorer.check(raw, noise_level))
    chosen = list(range(raw.shape[2])) if final else evenly(raw.shape[2], EARLY_FRAMES)
    stills = raw[:, :, chosen].transpose(1, 2).flatten(0, 1)
    scores, nearest = scorer.check(stills, noise_level)
    by_frame = torch.where(scores.isfinite(), scores, torch.inf).unflatten(0, (-1, len(chosen)))
    highest, place = by_frame.max(dim=1)
    concepts = nearest.unflatten(0, (-1, len(chosen))).gather(1, place[:, None])[:, 0]
    return Seen(highest, concepts, torch.tensor(chosen)[place])


def evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers 0 to count - 1, the first and the last among them, evenly apart."""
    if count <= most:
        return list(range(count))
    return [round(n * (count - 1) / (most - 1)) for n in range(most)]
