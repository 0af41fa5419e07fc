"""Withheld images, kept under encryption until a person has looked at them, and what was decided about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.review.keys import make_keys, read_private_key, read_public_key
    from latent_guard.review.queue import ReviewQueue
    from latent_guard.review.store import ReviewStore

__all__ = ["ReviewQueue", "ReviewStore", "make_keys", "read_private_key", "read_public_key"]

_MODULES = {
    "keys": ("make_keys", "read_private_key", "read_public_key"),
    "queue": ("ReviewQueue",),
    "store": ("ReviewStore",),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
