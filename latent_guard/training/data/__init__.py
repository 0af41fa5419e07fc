"""Latent shards and their readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.training.data.in_memory import read_shards
    from latent_guard.training.data.shards import LatentDataset, ShardWriter
    from latent_guard.training.data.tar_shards import TarShardWriter

__all__ = ["LatentDataset", "ShardWriter", "TarShardWriter", "read_shards"]

_MODULES = {
    "in_memory": ("read_shards",),
    "shards": ("LatentDataset", "ShardWriter"),
    "tar_shards": ("TarShardWriter",),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
