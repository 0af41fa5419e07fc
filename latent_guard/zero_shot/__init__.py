"""Zero-shot classification and retrieval with a Latent-CLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.zero_shot.class_set import ClassSet
    from latent_guard.zero_shot.classify import accuracy, class_embeddings, retrieval_recall
    from latent_guard.zero_shot.pixel_clip import from_open_clip

__all__ = ["ClassSet", "accuracy", "class_embeddings", "from_open_clip", "retrieval_recall"]

_MODULES = {
    "class_set": ("ClassSet",),
    "classify": ("accuracy", "class_embeddings", "retrieval_recall"),
    "pixel_clip": ("from_open_clip",),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
