"""Where withheld images are kept for review: a folder that a server writes into and cannot read back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from latent_guard.bounds import require_number
from latent_guard.errors import InputError
from latent_guard.files.atomic import PART, for_the_owner, moved_to, writing
from latent_guard.review.withheld import SUFFIX, Details, Header, is_name, name_of, read_header, written

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from PIL.Image import Image

    from latent_guard.guidance.verdict import Verdict

KEEP_DAYS = 30.0
MAX_DAYS = 36_500.0
DAY = 86_400.0  # seconds
_PURGED_EVERY = 3600.0  # seconds, by a server that runs for months
_STALE = 3600.0  # seconds: no write takes so long, so that a kill has left the part of a file


class ReviewStore:
    """A folder of withheld images, each sealed for the review key; many processes may share it.

    Images whose time has come are deleted when a store is opened, and about once an hour while images are kept.
    """

    def __init__(self, folder: Path | str, public_key: X25519PublicKey, keep_days: float = KEEP_DAYS) -> None:
        """
        Args:
            folder: made where there is none, for its owner alone.
            public_key: see ``read_public_key``.
            keep_days: after how many days an image is deleted, which can be read no longer then.

        Raises:
            InputError: the folder cannot be written, or a number of days that is none.
        """
        self.folder = Path(folder)
        self._reader = public_key
        self._seconds = DAY * require_number("the days that images are kept", keep_days, 0, MAX_DAYS, exclusive=True)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.purge()

    def keep(self, image: Image, verdict: Verdict, about: Mapping[str, str]) -> str:
        """Write an image with its verdict, whole or not at all.

        Args:
            image: what was withheld.
            verdict: why.
            about: texts that reviewers are shown beside it, such as the prompt; long ones are cut.

        Returns:
            The image's id, 32 hexadecimal digits; it says nothing of the image.

        Raises:
            InputError: the file system refuses.
        """
        now = time.time()
        if now > self._purged + _PURGED_EVERY:
            self.purge()
        header = Header.new(now, now + self._seconds)
        content = written(header, image, Details(verdict, about), self._reader)
        with moved_to(self.folder / name_of(header.id)) as partial, open(partial, "xb", opener=for_the_owner) as file:
            file.write(content)
        return header.id

    def purge(self) -> int:
        """Delete the images whose time has come; how many there were."""
        self._purged = time.time()
        return purge(self.folder)


def purge(folder: Path) -> int:
    """Delete the images of a folder whose time has come, and what killed processes left; how many images there were.

    No key is needed, so that the time is as the file says it: who can alter it can delete the file as well.

    Raises:
        InputError: the folder cannot be read, or a file not be deleted.
    """
    now, deleted = time.time(), 0
    with writing(folder):
        for path in paths_in(folder):
            if is_expired(path, now):
                path.unlink(missing_ok=True)
                deleted += 1
        for path in folder.glob(f"*{SUFFIX}.*{PART}"):
            if now > _changed(path) + _STALE:
                path.unlink(missing_ok=True)
    return deleted


def paths_in(folder: Path) -> Iterator[Path]:
    """The files of a folder that are called like withheld images; ``InputError`` where there is no folder."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of withheld images")
    return (path for path in sorted(folder.iterdir()) if is_name(path.name))


def is_expired(path: Path, now: float) -> bool:
    """Whether an image's time has come; what cannot be read as one stays for its owner to see."""
    try:
        return path.is_file() and now >= read_header(path).expires
    except (InputError, OSError):
        return False


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # moved into its place
        return time.time()
