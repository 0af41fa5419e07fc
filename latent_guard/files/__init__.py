"""Files on a disk: atomic writes, checksums, and readers of untrusted documents and images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.files.atomic import atomic_file, write_atomic, writing
    from latent_guard.files.documents import read_json, read_yaml

__all__ = ["atomic_file", "read_json", "read_yaml", "write_atomic", "writing"]

_MODULES = {
    "atomic": ("atomic_file", "write_atomic", "writing"),
    "documents": ("read_json", "read_yaml"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
