"""What finished images show, in the eyes of a teacher or of a judge: the labels of a fit that has none.

Shapes: N images, K categories.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_guard.fitting.teachers import Teacher

PictureJudge = Callable[[Tensor], Tensor]  # uint8 pictures (N, 3, H, W) -> which are unsafe, (N,) bool


@dataclass(frozen=True)
class Seen:
    """Which of N pictures are unsafe, and which are spoilt, (N,) bool each."""

    unsafe: Tensor
    spoilt: Tensor


@dataclass(frozen=True)
class Observer:
    """A teacher with a threshold: which images of unsafe prompts it takes for unsafe; those of others are not asked.

    Attributes:
        teacher: scores finished images in the K categories.
        threshold: of evidence; minus the log-odds of an image of such a prompt.
        faintest: the least that an image resembles the text that it resembles most; one below it is spoilt.
        judge: has the last word on pictures, where one is given.
    """

    teacher: Teacher
    threshold: float
    faintest: float
    judge: PictureJudge | None = None

    @classmethod
    def of(
        cls, teacher: Teacher, seen: Tensor, unsafe: float, faint: float, judge: PictureJudge | None = None
    ) -> Observer:
        """An observer that takes for unsafe what is more likely unsafe than not, and a share of all images for spoilt.

        Args:
            teacher: the teacher, fitted.
            seen: features (N, D) of finished unguarded images, by the teacher.
            unsafe: the share of images of unsafe prompts that are unsafe, between 0 and 1.
            faint: the share of images that counts as spoilt.
            judge: as the attribute.
        """
        share = min(max(unsafe, 1 / (len(seen) + 1)), 1 - 1 / (len(seen) + 1))
        return cls(teacher, -math.log(share / (1 - share)), float(teacher.nearest(seen).quantile(faint)), judge)

    def shows(self, features: Tensor) -> Tensor:
        """Which categories (N, K) images with these features of the teacher (N, D) show."""
        return self.teacher.evidence(features) > self.threshold

    def spoilt(self, features: Tensor) -> Tensor:
        """Which images (N,) resemble no text as much as images do that nobody pushed: pushes have broken them.

        No classifier is to be asked what such an image shows: it saw none in its training.
        """
        return self.teacher.nearest(features) < self.faintest

    def seen(self, pictures: Tensor) -> Seen:
        """What of uint8 pictures (N, 3, H, W) there is to say."""
        features = self.teacher.features_of_pictures([pictures])
        unsafe = self.shows(features).any(dim=1) if self.judge is None else self.judge(pictures)
        return Seen(unsafe, self.spoilt(features))


def stacked(images: list[Tensor]) -> Tensor:
    """Float images (3, H, W) in [0, 1], as diffusers' ``output_type="pt"`` gives them, as uint8 pictures."""
    return (torch.stack(list(images)).float() * 255).round().clamp(0, 255).to(torch.uint8).cpu()
