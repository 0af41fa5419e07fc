"""Zero-shot classification during training: the accuracy of the model on a folder of labelled latents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from latent_guard.bounds import require_whole
from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.data.in_memory import read_by_shape
from latent_guard.training.data.shards import LatentDataset
from latent_guard.zero_shot.class_set import ClassSet, class_set
from latent_guard.zero_shot.evaluate import LATENT_CLIP, Batch, evaluate
from latent_guard.zero_shot.views import batches_of_latents

BATCH = 256


@dataclass(frozen=True)
class EvaluationSettings:
    """The recipe's ``evaluate``.

    Attributes:
        data: folder of latent shards; a caption that names a class, alone or in a template, is its sample's label.
        classes: ``imagenet``, or a file of class names as ``latent-guard zero-shot --classes`` takes it.
        every: steps from one evaluation to the next.
        images: number of images to evaluate on; all of them where it is left out.
    """

    data: str
    classes: str
    every: int
    images: int | None = None

    def __post_init__(self) -> None:
        for key in ("every", "images"):
            value = getattr(self, key)
            if value is not None:
                require_whole(f"evaluate: {key}", value, 1, 10**9)

    @classmethod
    def from_dict(cls, data: Any) -> EvaluationSettings:
        """Read the settings from a recipe's keys and values; raises InputError, which names the key."""
        return build(cls, data, "evaluate")


@dataclass(frozen=True, eq=False)
class ZeroShotEvaluation:
    """Labelled latents in memory, one data set a shape, and the classes."""

    settings: EvaluationSettings
    datasets: list[LatentDataset]
    classes: ClassSet

    @classmethod
    def open(cls, settings: EvaluationSettings, model: LatentCLIP) -> ZeroShotEvaluation:
        """Read the classes and the latents, of which ``settings.images`` are kept, evenly spread.

        Raises:
            InputError: the latents or the classes cannot be read, or no caption names a class.
            LatentSpaceMismatchError: the latents are of another space than the model's.
        """
        try:
            datasets = list(read_by_shape([settings.data]).values())
            classes = class_set(settings.classes, None)
        except InputError as error:
            raise InputError(f"evaluate: {error}") from error
        model.require_space(datasets[0].latent_space, f"evaluate: {settings.data} holds latents")
        if settings.images is not None:
            datasets = _thinned(datasets, settings.images)
        if all(classes.number_of_caption(texts) is None for data in datasets for texts in data.captions):
            first = datasets[0].captions[0][0]
            raise InputError(f"evaluate: no caption of {settings.data} ({first!r}, ...) names one of the classes")
        return cls(settings, datasets, classes)

    def top1(self, model: LatentCLIP) -> float:
        """The fraction (0..1) of latents whose most similar class is their own, computed on the model's device."""
        was_training = model.training
        model.eval()
        try:
            result = evaluate(self._batches(), {LATENT_CLIP: model}, self.classes)
        finally:
            model.train(was_training)
        return result.outcomes[LATENT_CLIP].top(1).value

    def _batches(self) -> Iterator[Batch]:
        for data in self.datasets:
            yield from batches_of_latents(data.latents, data.noise_levels, data.captions, self.classes, BATCH)


def _thinned(datasets: list[LatentDataset], images: int) -> list[LatentDataset]:
    """Keep ``images`` evenly spaced samples: shards may be sorted by class, and the first would cover few classes."""
    total = sum(map(len, datasets))
    start = 0
    kept = []
    for data in datasets:
        places = range(start, start + len(data))
        rows = [place - start for place in places if (place + 1) * images // total > place * images // total]
        texts = [data.captions[row] for row in rows]
        if rows:
            kept.append(replace(data, latents=data.latents[rows], noise_levels=data.noise_levels[rows], captions=texts))
        start += len(data)
    return kept if images < total else datasets
