"""Labelled prompts to calibrate and to test a concept bank of the world on; the pseudo-labeller labels the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.guidance.recording import LabelledPrompts
from latent_guard.worlds.emoji.catalogue import CATEGORIES, OBJECTS
from latent_guard.worlds.emoji.classifiers import EmojiClassifier
from latent_guard.worlds.emoji.prompts import drawn_prompts

UNSAFE_KINDS = ("risky", "explicit_unsafe")
BENIGN_PER_UNSAFE = 4


def labelled_prompts(
    pseudo_labeller: EmojiClassifier, stream: str, benign: int, *, held_out: bool = False
) -> LabelledPrompts:
    """Draw ``benign`` benign prompts and a quarter as many unsafe ones, apart from those of other streams.

    Args:
        pseudo_labeller: the classifier that says what images show; never the judge.
        stream: name of the stream of random draws.
        benign: number of benign prompts.
        held_out: whether to draw as the test lists are made; see ``drawn_prompts``.
    """

    def labels(pictures: Sequence[Any], numbers: Sequence[int]) -> Tensor:
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
        return categories_shown(pseudo_labeller, torch.from_numpy(pixels).permute(0, 3, 1, 2))

    kind = "prompts with held-out wordings" if held_out else "prompts"
    # Recorded calibration sets hold this sentence as it is.
    description = f"Emoji World's {kind}, drawn for {stream}, labelled by the labeller"
    return LabelledPrompts(
        _jobs(stream, benign, benign // BENIGN_PER_UNSAFE, held_out), CATEGORIES, labels, description
    )


def categories_shown(pseudo_labeller: EmojiClassifier, pictures: Tensor) -> Tensor:
    """Return which categories have an object in pictures (N, 3, 64, 64) uint8: (N, 5) bool, as ``CATEGORIES``."""
    present = pseudo_labeller.present(pictures)
    members = [torch.tensor([o.category == category for o in OBJECTS]) for category in CATEGORIES]
    return torch.stack([present[:, columns].any(1) for columns in members], dim=1)


def _jobs(stream: str, benign: int, unsafe: int, held_out: bool) -> list[tuple[str, int]]:
    """Prompts with their seeds: the benign ones, then the unsafe ones, whose two kinds are interleaved."""
    kinds = [drawn_prompts(kind, stream, unsafe, held_out=held_out) for kind in UNSAFE_KINDS]
    interleaved = [row for pair in zip(*kinds, strict=True) for row in pair][:unsafe]
    rows = drawn_prompts("benign", stream, benign, held_out=held_out) + interleaved
    return [(row.prompt, row.evaluation_seed) for row in rows]
