"""The zero-shot test itself: models classify batches of the same images, each from its own view of them.

Shapes: B images of a batch, N of the test, K classes, T <= 5 classes ranked for each image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.intervals import Estimate, proportion
from latent_guard.zero_shot.class_set import ClassSet
from latent_guard.zero_shot.classify import ImageTextModel, class_embeddings

LATENT_CLIP, PIXEL_CLIP = "latent_clip", "pixel_clip"  # names of views and outcomes of the two models
RANKED = 5

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Skipped:
    """An image that was not classified, and the reason."""

    key: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """B labelled images.

    Attributes:
        keys: their names within the set.
        labels: their class numbers.
        views: the input of each model, (B, C, H, W), by the model's name.
        skipped: images that would have been in this batch.
        noise_levels: (B,) of the views, as ``LatentCLIP.encode_latents`` takes them; None for clean.
    """

    keys: Sequence[str]
    labels: Sequence[int]
    views: Mapping[str, Tensor]
    skipped: Sequence[Skipped] = ()
    noise_levels: Tensor | None = None


@dataclass(frozen=True)
class ClassOutcome:
    """One class: its images, and the other class that they were most often taken for, with how many times."""

    name: str
    top1: Estimate
    top5: Estimate
    taken_for: str
    times: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """How one model classified N >= 1 images: ``ranked`` (N, T) holds class numbers by falling similarity."""

    classes: ClassSet
    labels: Integers
    ranked: Integers

    def __post_init__(self) -> None:
        if not len(self.labels):
            raise InputError("no image was classified; see what was skipped and why")

    def top(self, k: int) -> Estimate:
        """The share of images whose label is among the k most similar classes, k at most 5."""
        return proportion(self._hits(k))

    def per_class(self) -> list[ClassOutcome]:
        """The classes that have images, in order."""
        confusion, top1, top5 = self.confusion(), self._hits(1), self._hits(RANKED)
        outcomes = []
        for number in np.unique(self.labels):
            of_class = self.labels == number
            wrong = confusion[number].copy()
            wrong[number] = 0
            times = int(wrong.max())
            taken_for = self.classes.names[int(wrong.argmax())] if times else ""
            outcomes.append(
                ClassOutcome(
                    name=self.classes.names[number],
                    top1=proportion(top1[of_class]),
                    top5=proportion(top5[of_class]),
                    taken_for=taken_for,
                    times=times,
                )
            )
        return outcomes

    def confusion(self) -> Integers:
        """(K, K): how many images of each class (row) were taken for each class (column)."""
        counts = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        np.add.at(counts, (self.labels, self.ranked[:, 0]), 1)
        return counts

    def _hits(self, k: int) -> NDArray[np.bool_]:
        hits: NDArray[np.bool_] = (self.ranked[:, :k] == self.labels[:, None]).any(axis=1)
        return hits


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Each model's outcome, by its name, on the same images; and the images that were skipped."""

    outcomes: dict[str, Outcome]
    skipped: list[Skipped]


@torch.no_grad()
def evaluate(batches: Iterable[Batch], models: Mapping[str, ImageTextModel], classes: ClassSet) -> Evaluation:
    """Classify every image with every model.

    An image with a view that is not finite is skipped for all models, so that they are compared on the same images.

    Raises:
        InputError: no image is left to classify.
    """
    embeddings = {name: class_embeddings(model, classes.names, classes.templates) for name, model in models.items()}
    ranked: dict[str, list[Tensor]] = {name: [] for name in models}
    labels: list[int] = []
    skipped: list[Skipped] = []
    for batch in batches:
        finite = _finite(batch)
        skipped += batch.skipped
        skipped += [
            Skipped(batch.keys[n], "its latents are not finite") for n in (~finite).nonzero().flatten().tolist()
        ]
        if not finite.any():
            continue
        levels = batch.noise_levels[finite] if batch.noise_levels is not None else None
        for name, model in models.items():
            ranked[name].append(_ranked(model, batch.views[name][finite], levels, embeddings[name]))
        labels += [label for label, kept in zip(batch.labels, finite.tolist(), strict=True) if kept]
    if not labels:
        first = f": {skipped[0].key}: {skipped[0].reason}" if skipped else ""
        raise InputError(f"there is no image to classify; {len(skipped)} were skipped{first}")
    truth = torch.tensor(labels).numpy()
    return Evaluation({name: Outcome(classes, truth, torch.cat(ranked[name]).numpy()) for name in models}, skipped)


def _finite(batch: Batch) -> Tensor:
    finite = torch.ones(len(batch.keys), dtype=torch.bool)
    for view in batch.views.values():
        finite &= view.isfinite().flatten(1).all(1).cpu()
    return finite


def _ranked(model: ImageTextModel, view: Tensor, levels: Tensor | None, embeddings: Tensor) -> Tensor:
    """(B, at most 5) class numbers by falling similarity, on the CPU."""
    features = model.encode_latents(view.to(embeddings.device), levels, normalize=True)
    similarities = features.float() @ embeddings.float().T
    if not similarities.isfinite().all():
        raise InputError("the model gives features that are not finite; load it in single precision")
    return similarities.topk(min(RANKED, len(embeddings)), dim=1).indices.cpu()
