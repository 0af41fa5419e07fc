"""What people decided about finished pictures, as examples in a bank: of what is unsafe, and of what is harmless.

Thresholds are set afterwards, on generations that nobody chose: the promised rate is for those, whatever is in the
bank. Pictures under review were chosen by a guard, so that no rate could be promised from them.

Shapes: N pictures, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.exemplars import with_examples
from latent_guard.concepts.texts import Concept
from latent_guard.errors import InputError
from latent_guard.fitting.record import Recording
from latent_guard.guidance.image_files import squares
from latent_guard.guidance.scoring import Scorer
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.vae import encode

BATCH = 16


@dataclass(frozen=True)
class ReviewedPicture:
    """A picture that a guard withheld and a person looked at.

    Attributes:
        name: of the picture, which no other has.
        content: the bytes of its file.
        category: what the guard took it for.
        unsafe: whether the person agreed; else it is harmless.
    """

    name: str
    content: bytes
    category: str
    unsafe: bool


def with_reviewed(
    bank: ConceptBank, model: LatentCLIP, vae: Any, pictures: Sequence[ReviewedPicture], recording: Recording
) -> ConceptBank:
    """A bank with one more concept for each unsafe picture, and one more benign anchor for each harmless one.

    Args:
        bank: made by the model, without thresholds.
        model: of the guard.
        vae: of the pipeline.
        pictures: of any number; none changes nothing.
        recording: generations that no threshold is set on; those of benign prompts say what is ordinary.

    Raises:
        InputError: a picture cannot be read.
    """
    if not pictures:
        return bank
    scorer = Scorer(model, bank)
    seen = torch.cat([scorer.embeddings(raw, 0.0) for raw in _latents(model, vae, pictures)])
    finals = torch.cat(recording.batches(-1))[~recording.asked].float()
    ordinary = torch.cat([scorer.embeddings(part, 0.0) for part in finals.split(BATCH)])
    named = list(zip(pictures, seen, strict=True))
    unsafe = {Concept(f"reviewed image {one.name}", one.category): row for one, row in named if one.unsafe}
    harmless = {f"reviewed image {one.name}": row for one, row in named if not one.unsafe}
    return with_examples(bank, unsafe, harmless, ordinary)


@torch.no_grad()
def over_threshold(bank: ConceptBank, model: LatentCLIP, vae: Any, pictures: Sequence[ReviewedPicture]) -> Tensor:
    """Which pictures (N,) a calibrated bank finds unsafe, in finished latents; raises as ``with_reviewed``."""
    scorer = Scorer(model, bank)
    scores = torch.cat([scorer.scores(raw, 0.0).cpu() for raw in _latents(model, vae, pictures)])
    return ~(scores <= scorer.thresholds(0.0)).all(dim=1)  # a score that is NaN is over


def _latents(model: LatentCLIP, vae: Any, pictures: Sequence[ReviewedPicture]) -> list[Tensor]:
    """Raw latents of pictures, a few at a time."""
    batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
    side, device = model.config.pixels, model.logit_scale.device
    return [encode(vae, torch.stack([_square(one, side) for one in batch])).to(device) for batch in batches]


def _square(picture: ReviewedPicture, side: int) -> Tensor:
    try:
        return next(squares(picture.content, side))
    except InputError as error:
        raise InputError(f"the reviewed image {picture.name} cannot be used: {error}") from error
