"""The zero-shot test itself: models look at batches of the same images, each at its own view of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.zero_shot.class_set import ClassSet
from latent_guard.zero_shot.classify import ImageTextModel, class_embeddings
from latent_guard.zero_shot.outcome import RANKED, Outcome

LATENT_CLIP, PIXEL_TWIN = "latent_clip", "pixel_twin"  # what views and outcomes of the two models are called


@dataclass(frozen=True)
class Skipped:
    """An image that was not classified, and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """B labelled images.

    Attributes:
        keys: their names within the set.
        labels: their class numbers.
        views: what each model is shown of them, (B, C, H, W), by the model's name.
        skipped: images that would have been in this batch.
        noise_levels: (B,) of the views, as ``LatentCLIP.encode_latents`` takes them; None for clean.
    """

    keys: Sequence[str]
    labels: Sequence[int]
    views: Mapping[str, Tensor]
    skipped: Sequence[Skipped] = ()
    noise_levels: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Each model's outcome, by its name, on the same images; and what was left out."""

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
