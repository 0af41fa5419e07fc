"""Zero-shot classification and retrieval: pure functions on features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from latent_guard.errors import InputError

TEXT_BATCH = 256


class ImageTextModel(Protocol):
    """The interface that a zero-shot test needs of a model; a ``LatentCLIP`` has it."""

    def encode_text(self, texts: Sequence[str], normalize: bool = False) -> Tensor: ...

    def encode_latents(
        self, latents: Tensor, noise_level: float | Tensor | None = None, normalize: bool = False
    ) -> Tensor: ...


@torch.no_grad()
def class_embeddings(model: ImageTextModel, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """One unit vector a class, (K, D): the mean over ``templates`` of the unit text embeddings, scaled to length one.

    Prompt ensembling in embedding space, CLIP (Radford et al. 2021), section 3.1.4.

    Raises:
        InputError: no class, no template, or a template without ``{}``.
    """
    if not class_names or not templates:
        raise InputError("zero-shot classification needs at least one class name and one template")
    if bare := [template for template in templates if "{}" not in template]:
        raise InputError(f"the template {bare[0]!r} has no {{}} for the class name")
    texts = [template.replace("{}", name) for name in class_names for template in templates]
    chunks = [texts[i : i + TEXT_BATCH] for i in range(0, len(texts), TEXT_BATCH)]
    embedded = torch.cat([model.encode_text(chunk, normalize=True) for chunk in chunks])
    return normalize(embedded.unflatten(0, (len(class_names), len(templates))).mean(1), dim=-1)


def accuracy(features: Tensor, class_embeddings: Tensor, labels: Tensor) -> float:
    """Fraction of images (N, D) whose most similar class (K, D) is their label (N,)."""
    _check_rows(len(features), len(labels))
    predicted = (features @ class_embeddings.T).argmax(1)  # the images' lengths do not change the order
    return float((predicted == labels.to(predicted.device)).float().mean())


def retrieval_recall(image_features: Tensor, text_features: Tensor, k: int = 1) -> float:
    """Recall@k: fraction of images (N, D) whose own text, the same row of (N, D), is among the k most similar.

    Swap the arguments for text-to-image retrieval.
    """
    _check_rows(len(image_features), len(text_features))
    similarities = normalize(image_features, dim=-1) @ normalize(text_features, dim=-1).T
    nearest = similarities.topk(min(k, len(text_features)), dim=1).indices
    own = torch.arange(len(image_features), device=nearest.device)[:, None]
    return float((nearest == own).any(1).float().mean())


def _check_rows(images: int, others: int) -> None:
    if images != others or not images:
        raise InputError(f"{images} images against {others} rows; expected as many of both, and at least one")
