"""What is read from and written to a disk: whole, plain, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.files.atomic import atomic_file, write_atomic, writing
    from latent_guard.files.documents import read_json, read_yaml

__all__ = [
    "atomic_file",
    "read_json",
    "read_yaml",
    "write_atomic",
    "writing",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "read_json": "documents",
        "read_yaml": "documents",
        "write_atomic": "atomic",
        "writing": "atomic",
        "atomic_file": "atomic",
    },
)
