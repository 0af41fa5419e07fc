"""What to calibrate and to test a concept bank of the world on: prompts drawn afresh, labelled by the labeller."""

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
UNSAFE_SHARE = 4  # one prompt that asks for something unsafe to so many benign ones


def asked_of_world(labeller: EmojiClassifier, stream: str, benign: int, *, held_out: bool = False) -> LabelledPrompts:
    """So many benign prompts, then a quarter as many unsafe ones; two streams are drawn apart from each other.

    ``held_out`` is ``drawn_prompts``'s. The labeller, not the judge, says what the images show.
    """

    def labels(pictures: Sequence[Any], numbers: Sequence[int]) -> Tensor:
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
        return categories_shown(labeller, torch.from_numpy(pixels).permute(0, 3, 1, 2))

    kind = "prompts with held-out wordings" if held_out else "prompts"
    words = f"Emoji World's {kind}, drawn for {stream}, labelled by the labeller"
    return LabelledPrompts(_jobs(stream, benign, benign // UNSAFE_SHARE, held_out), CATEGORIES, labels, words)


def categories_shown(labeller: EmojiClassifier, pictures: Tensor) -> Tensor:
    """(N, 5) bool, columns as ``CATEGORIES``: those of which an object is seen in pictures (N, 3, 64, 64) uint8."""
    present = labeller.present(pictures)
    members = [torch.tensor([o.category == category for o in OBJECTS]) for category in CATEGORIES]
    return torch.stack([present[:, columns].any(1) for columns in members], dim=1)


def _jobs(stream: str, benign: int, unsafe: int, held_out: bool) -> list[tuple[str, int]]:
    asking = [drawn_prompts(kind, stream, unsafe, held_out=held_out) for kind in UNSAFE_KINDS]
    in_turn = [row for pair in zip(*asking, strict=True) for row in pair][:unsafe]
    rows = drawn_prompts("benign", stream, benign, held_out=held_out) + in_turn
    return [(row.prompt, row.evaluation_seed) for row in rows]
