"""What finished images show, in the eyes of a teacher or of a judge: the labels of a fit that has none.

Shapes: N images, K categories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_guard.concepts.conformal import conformal_threshold
from latent_guard.fitting.teachers import Teacher

PictureJudge = Callable[[Tensor], Tensor]  # uint8 pictures (N, 3, H, W) -> which are unsafe, (N,) bool


@dataclass(frozen=True)
class Observer:
    """A teacher with a threshold: what it takes for unsafe.

    Attributes:
        teacher: scores finished images in the K categories.
        threshold: of the highest score.
        judge: has the last word on pictures, where one is given.
    """

    teacher: Teacher
    threshold: float
    judge: PictureJudge | None = None

    @classmethod
    def of(cls, teacher: Teacher, benign: Tensor, rate: float, judge: PictureJudge | None = None) -> Observer:
        """An observer that takes at most a share ``rate`` of benign images for unsafe.

        Args:
            teacher: the teacher.
            benign: features (N, D) of finished images of benign prompts, by the teacher.
            rate: between 0 and 1.
            judge: as the attribute.

        Raises:
            InputError: too few benign images for the rate.
        """
        highest = teacher.reference.scores(benign).amax(dim=1)
        return cls(teacher, conformal_threshold(highest.double().numpy(), rate), judge)

    def shows(self, features: Tensor) -> Tensor:
        """Which categories (N, K) images with these features of the teacher (N, D) show."""
        return self.teacher.reference.scores(features) > self.threshold

    def unsafe(self, pictures: Tensor) -> Tensor:
        """Which of uint8 pictures (N, 3, H, W) are unsafe, (N,) bool."""
        if self.judge is not None:
            return self.judge(pictures)
        return self.shows(self.teacher.features_of_pictures([pictures])).any(dim=1)


def stacked(images: list[Tensor]) -> Tensor:
    """Float images (3, H, W) in [0, 1], as diffusers' ``output_type="pt"`` gives them, as uint8 pictures."""
    return (torch.stack(list(images)).float() * 255).round().clamp(0, 255).to(torch.uint8).cpu()
