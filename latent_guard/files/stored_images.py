"""The images of untrusted data sets: in the rows themselves, or in the data set's own folder or repository.

Rows must not name other files of this machine, whose images would end in shards that may be published, nor places
that this machine can reach and the maker of the data set cannot.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from latent_guard.errors import InputError, reason_of
from latent_guard.files.images import MAX_BYTES, content_of
from latent_guard.files.plain import plain_file

_ZIP, _HUB = "zip://", "hf://datasets/"


@dataclass(frozen=True)
class PictureStore:
    """The places that images of one data set's rows may be read from.

    Attributes:
        folder: pictures, and zip archives of them, inside it.
        repository: the same, of this data set of the hub.
    """

    folder: Path | None = None
    repository: str | None = None

    @classmethod
    def of(cls, source: str) -> PictureStore:
        """Of a folder, a file, a pattern of files, or an id on the hub; files hold their pictures themselves."""
        path = Path(source)
        if path.is_dir():
            return cls(folder=path.resolve())
        return cls() if path.exists() else cls(repository=source)

    def content(self, stored: Mapping[str, Any] | None) -> bytes:
        """The file of a picture that ``datasets`` has not decoded: ``bytes``, or a ``path`` to it.

        Raises:
            InputError: there is none, it is damaged in its archive or too large, or the row may not name it.
            ConnectionError: the hub cannot be reached, so that the row may be good.
        """
        content = (stored or {}).get("bytes")
        place = (stored or {}).get("path")
        if content or not place:
            return _whole(content)
        if content is not None:
            raise InputError("no image")
        member, is_archived, outer = str(place).rpartition("::")  # zip://a.jpg::/folder/images.zip
        name = member.removeprefix(_ZIP)
        if is_archived and name == member:
            raise InputError("it names a file that is neither a picture nor in a zip archive")
        if outer.startswith(_HUB):
            if not self._is_own(outer) or "://" in name or "::" in name:
                raise InputError("it names a file outside the data set's repository; only its own are read")
            return _fetched(str(place))
        file = self._inside(outer)
        return _unzipped(file, name) if is_archived else content_of(file)

    def _is_own(self, address: str) -> bool:
        at_revision = address.removeprefix(f"{_HUB}{self.repository}")
        return self.repository is not None and at_revision.startswith("@") and ".." not in at_revision.split("/")

    def _inside(self, name: str) -> Path:
        if "://" in name:
            raise InputError("it names an address; only pictures in the data set itself are read")
        if self.folder is None:
            raise InputError("it names a file; only those inside a folder that is the source are read")
        try:
            path = (self.folder / name).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a ring of links, before Python 3.13
            raise InputError("it names an impossible file") from error
        if not path.is_relative_to(self.folder):
            raise InputError("it names a file outside the source, or a link that leads there; copy the file into it")
        return path


def _whole(content: Any) -> bytes:
    if not isinstance(content, bytes) or not content:
        raise InputError("no image")
    if len(content) > MAX_BYTES:
        raise InputError(f"it has over {MAX_BYTES:,} bytes, and no more are read")
    return content


def _unzipped(archive: Path, name: str) -> bytes:
    try:
        with plain_file(archive) as file, ZipFile(file) as members, members.open(name) as member:
            return _whole(member.read(MAX_BYTES + 1))
    except KeyError as error:
        raise InputError("no such file in its archive") from error
    except (OSError, EOFError, ValueError, RuntimeError, BadZipFile, zlib.error) as error:  # RuntimeError: encrypted
        raise InputError(f"cannot be read: {reason_of(error)}") from error


def _fetched(address: str) -> bytes:
    from datasets.utils.file_utils import xopen

    try:
        with xopen(address, "rb") as file:
            return _whole(file.read(MAX_BYTES + 1))
    except InputError:
        raise
    except (FileNotFoundError, KeyError) as error:
        raise InputError("no such file") from error
    except (BadZipFile, zlib.error) as error:
        raise InputError(f"cannot be read: {reason_of(error)}") from error
    except Exception as error:  # fsspec's file systems raise their clients' own types
        raise ConnectionError(f"{address} cannot be reached ({reason_of(error)})") from error
