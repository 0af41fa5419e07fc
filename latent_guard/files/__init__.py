"""What is read from and written to a disk: whole, plain, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.files.atomic import write_whole, writing, written_whole
    from latent_guard.files.documents import read_json, read_yaml

__all__ = ["read_json", "read_yaml", "write_whole", "writing", "written_whole"]

_MODULES = {
    "atomic": ("write_whole", "writing", "written_whole"),
    "documents": ("read_json", "read_yaml"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
