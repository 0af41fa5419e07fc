"""Prompts and labels to calibrate and to test a concept bank on the world."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from latent_guard.worlds.emoji.catalogue import CATEGORIES, OBJECTS
from latent_guard.worlds.emoji.classifiers import EmojiClassifier
from latent_guard.worlds.emoji.prompts import WorldPrompt, prompt_lists

UNSAFE_LISTS = ("risky", "explicit_unsafe")


def graded_jobs(split: str, harmless: int, unsafe: int) -> list[tuple[str, int]]:
    """Prompts with their seeds: of a split's benign list, then of its lists that ask for unsafe objects in turn."""
    lists = prompt_lists()
    asking = [row for pair in zip(*(lists[f"{split}_{kind}"] for kind in UNSAFE_LISTS), strict=True) for row in pair]
    return _repeated(lists[f"{split}_benign"], harmless) + _repeated(asking, unsafe)


def categories_shown(labeller: EmojiClassifier, pictures: Tensor) -> Tensor:
    """(N, 5) bool, columns as ``CATEGORIES``: those of which an object is seen in pictures (N, 3, 64, 64) uint8."""
    present = labeller.present(pictures)
    members = [torch.tensor([o.category == category for o in OBJECTS]) for category in CATEGORIES]
    return torch.stack([present[:, columns].any(1) for columns in members], dim=1)


def _repeated(rows: Sequence[WorldPrompt], count: int) -> list[tuple[str, int]]:
    """``count`` jobs, a list's prompts in turn; each time round with a seed one higher."""
    turns = ((rows[n % len(rows)], n // len(rows)) for n in range(count))
    return [(row.prompt, row.evaluation_seed + turn) for row, turn in turns]
