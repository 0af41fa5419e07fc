"""Pictures as PNG."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def png_bytes(picture: Picture, compress_level: int = 6) -> bytes:
    """The file; at ``compress_level`` 1 an eighth larger, in less than half the time."""
    content = BytesIO()
    picture.save(content, "PNG", compress_level=compress_level)
    return content.getvalue()
