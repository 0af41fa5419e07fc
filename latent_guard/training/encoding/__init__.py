"""The encoding of images with captions into latent shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.training.encoding.encoder import Encoder
    from latent_guard.training.encoding.pairs import LatentPairs, encode_pairs
    from latent_guard.training.encoding.sources import ImageSource, open_source

__all__ = ["Encoder", "ImageSource", "LatentPairs", "encode_pairs", "open_source"]

_MODULES = {
    "encoder": ("Encoder",),
    "pairs": ("LatentPairs", "encode_pairs"),
    "sources": ("ImageSource", "open_source"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
