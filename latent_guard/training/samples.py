"""One image with its caption, as a source gives it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from zipfile import BadZipFile

from datasets.utils.file_utils import xopen

from latent_guard.errors import InputError


@dataclass(frozen=True)
class Sample:
    """One row, undecoded: the image as bytes or as a path or URL; None where the row has no image or no caption.

    Bytes of a caption that are not UTF-8 are surrogates in it, so that it cannot be encoded again.
    """

    key: str
    image: bytes | str | None
    caption: str | None

    def content(self) -> bytes:
        """The image file, fetched where it lies elsewhere.

        Raises:
            InputError: there is none, or it is damaged within its archive.
            ConnectionError: the place where it lies cannot be reached; nobody knows whether the row is good.
        """
        if not self.image:
            raise InputError("no image")
        if isinstance(self.image, bytes):
            return self.image
        try:
            with xopen(self.image, "rb") as file:
                return bytes(file.read())
        except (FileNotFoundError, KeyError) as error:
            raise InputError("no such file") from error
        except Exception as error:  # fsspec's file systems raise their clients' own types
            if "://" not in self.image or isinstance(error, (BadZipFile, zlib.error)):
                raise InputError(f"cannot be read: {first_line(error)}") from error
            raise ConnectionError(f"{self.image} cannot be reached ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """What another library says went wrong, short."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(" :.")[:200]
