"""One withheld image as a file: a header that anybody reads and nobody alters, and what only the review key opens.

The header holds version, id, and when the image was kept and is to be deleted; sealed are the verdict, what is known
about the request, and the picture as PNG.
"""

from __future__ import annotations

import json
import re
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.documents import json_value
from latent_guard.files.images import opened_picture
from latent_guard.files.png import png_bytes
from latent_guard.guidance.verdict import Verdict
from latent_guard.review.sealing import seal, unseal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from PIL.Image import Image

SUFFIX = ".withheld"
MAX_TEXT = 20_000  # characters of each text about a request; what is longer is cut
_ID = re.compile(r"[0-9a-f]{32}")
_MAGIC, _VERSION = b"LGREVIEW", 1
_HEADER = struct.Struct(">8sB16sQQ")  # magic, version, id, kept and expires in microseconds since 1970
_LATEST = 253_402_300_799_000_000  # the end of the year 9999
_LENGTH = struct.Struct(">I")  # of the details, which stand before the picture
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True)
class Header:
    """What can be read without a key; ``kept`` and ``expires`` are seconds since 1970."""

    id: str
    kept: float
    expires: float

    @classmethod
    def new(cls, kept: float, expires: float) -> Header:
        """That of an image with a random id."""
        return cls(secrets.token_hex(16), kept, expires)

    def to_bytes(self) -> bytes:
        """The first bytes of the file."""
        times = (round(1e6 * self.kept), round(1e6 * self.expires))
        return _HEADER.pack(_MAGIC, _VERSION, bytes.fromhex(self.id), *times)

    @classmethod
    def from_bytes(cls, content: bytes) -> Header:
        """The header at the beginning of a file; nothing yet says that it was not altered.

        Raises:
            InputError: it is another kind of file, or of another version.
        """
        if len(content) < HEADER_BYTES or not content.startswith(_MAGIC):
            raise InputError("it is no withheld image")
        _, version, number, kept, expires = _HEADER.unpack_from(content)
        if version != _VERSION:
            raise InputError(f"it is of version {version}; this package reads version {_VERSION}")
        if not kept <= expires <= _LATEST:
            raise InputError("it is to be deleted before it was kept, or after the year 9999")
        return cls(number.hex(), kept / 1e6, expires / 1e6)


@dataclass(frozen=True)
class Details:
    """The verdict of a withheld image, and what is known about its request: its prompt, its number, and so on."""

    verdict: Verdict
    about: Mapping[str, str]

    def to_json(self) -> bytes:
        """What ``from_json`` reads."""
        about = {str(name)[:MAX_TEXT]: str(text)[:MAX_TEXT] for name, text in self.about.items()}
        return json.dumps({"verdict": self.verdict.to_dict(), "about": about}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Details:
        """The details, which anybody with the public key may have written.

        Raises:
            InputError: they are something else.
        """
        where = "what is said of the withheld image"
        read = build(_Details, json_value(content, where, any_text=True), where)
        return cls(Verdict.from_dict(read.verdict), read.about)


@dataclass(frozen=True)
class _Details:
    verdict: Mapping[str, Any]
    about: Mapping[str, str]


@dataclass(frozen=True)
class Withheld:
    """A withheld image that was opened: its header is authentic, its picture not yet decoded."""

    header: Header
    details: Details
    png: bytes

    def picture(self) -> Image:
        """The picture, in RGB.

        Raises:
            InputError: it is no readable picture.
        """
        with opened_picture(self.png) as picture:
            return picture.convert("RGB")


def name_of(item: str) -> str:
    """The name of an image's file; ``InputError`` for what is no id, as a path would be."""
    if not _ID.fullmatch(item):
        raise InputError("there is no such image; its id has 32 hexadecimal digits")
    return item + SUFFIX


def is_name(name: str) -> bool:
    """Whether a file is called as a withheld image is."""
    return name.endswith(SUFFIX) and _ID.fullmatch(name.removesuffix(SUFFIX)) is not None


def read_header(path: Path) -> Header:
    """The header of a file, not yet authenticated; ``InputError`` or ``OSError`` where there is none."""
    with path.open("rb") as file:
        return Header.from_bytes(file.read(HEADER_BYTES))


def written(header: Header, image: Image, details: Details, reader: X25519PublicKey) -> bytes:
    """The whole file."""
    said = details.to_json()
    content = _LENGTH.pack(len(said)) + said + png_bytes(image.convert("RGB"), compress_level=1)
    return header.to_bytes() + seal(reader, header.to_bytes(), content)


def opened(content: bytes, reader: X25519PrivateKey) -> Withheld:
    """What a file holds.

    Raises:
        InputError: another kind of file, one for another key, or one that was altered.
    """
    header = Header.from_bytes(content)
    inner = unseal(reader, content[:HEADER_BYTES], content[HEADER_BYTES:])
    end = _LENGTH.size + (_LENGTH.unpack_from(inner)[0] if len(inner) >= _LENGTH.size else 0)
    return Withheld(header, Details.from_json(inner[_LENGTH.size : end]), inner[end:])
