"""One image with its caption, as a source gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latent_guard.files.stored_images import PictureStore


@dataclass(frozen=True)
class Sample:
    """One row, undecoded: ``image`` has its bytes or its path; the caption is None where the row has none.

    Bytes of a caption that are not UTF-8 are surrogates in it, so that it cannot be encoded again.
    """

    key: str
    image: Mapping[str, Any]
    caption: str | None
    store: PictureStore

    def content(self) -> bytes:
        """The image file, fetched where it lies elsewhere.

        Raises:
            InputError: there is none, it is damaged within its archive, or a row may not name it.
            ConnectionError: the place where it lies cannot be reached; nobody knows whether the row is good.
        """
        return self.store.content(self.image)
