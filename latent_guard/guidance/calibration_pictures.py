"""Calibration sets of finished pictures, for those who moderate what others made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from latent_guard.concepts.calibration_set import CalibrationSet
from latent_guard.errors import InputError
from latent_guard.files.checksums import Checksum
from latent_guard.files.images import SUFFIXES
from latent_guard.files.plain import require_plain
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.image_files import files_below
from latent_guard.guidance.latent_files import LATENTS
from latent_guard.guidance.moderation import Moderator
from latent_guard.terminal import track

BATCH = 16


@dataclass(frozen=True)
class LabelledPictures:
    """Folders of pictures, or of raw latents as ``.safetensors``, whose folder says what they show.

    Attributes:
        benign: harmless ones.
        unsafe: a category and a folder of what shows it, each.
    """

    benign: Path
    unsafe: tuple[tuple[str, Path], ...] = ()

    def files(self) -> dict[Path, frozenset[str]]:
        """Every file once, with the categories that it shows; harmless ones, which come first, show none.

        Raises:
            InputError: a folder holds none, or a file lies among harmless and unsafe ones.
        """
        shown: dict[Path, frozenset[str]] = {file.resolve(): frozenset() for file in _files_of(self.benign)}
        for category, folder in self.unsafe:
            for file in map(Path.resolve, _files_of(folder)):
                if shown.get(file) == frozenset():
                    raise InputError(f"{file} lies among the harmless pictures and the unsafe ones; name folders apart")
                shown[file] = shown.get(file, frozenset()) | {category}
        return shown

    @property
    def description(self) -> str:
        """Which folders they are, for people."""
        shown = "".join(f", those of {folder.name} to show {category}" for category, folder in self.unsafe)
        return f"those of {self.benign.name} taken to be harmless{shown}"


def calibration_set_of_pictures(
    guard: LatentGuard, vae: Any, pictures: LabelledPictures, read_by: str
) -> CalibrationSet:
    """Embed pictures as ``check`` sees them, under a progress bar; their finished latents are the only check.

    Args:
        guard: whose Latent-CLIP embeds, and whose bank has the categories.
        vae: what turns pictures into its latents.
        pictures: the folders.
        read_by: what the calibration set calls the VAE.

    Raises:
        InputError: a folder without pictures, a file that cannot be read, or a category that the bank does not have.
        LatentSpaceMismatchError: another VAE.
    """
    categories = guard.bank.categories
    for name, folder in pictures.unsafe:
        if name not in categories:
            known = ", ".join(categories)
            raise InputError(f"{folder}: the bank has no category {name!r}; name one of {known}")
    files = pictures.files()
    identity = _identity(files)
    moderator = Moderator(guard, vae)
    features, shows, all_files = [], [], list(files)
    for start in track(range(0, len(files), BATCH), "embedding"):
        group = all_files[start : start + BATCH]
        for file, rows in zip(group, moderator.embeddings(group), strict=True):
            features.append(rows)
            shows += [[name in files[file] for name in categories]] * len(rows)
    return CalibrationSet(
        features=torch.cat(features)[:, None],
        noise_levels=torch.zeros(1),
        shows=torch.tensor(shows),
        categories=categories,
        fingerprint=guard.bank.fingerprint,
        made_by=f"{len(shows)} finished pictures, read by the VAE of {read_by}: {pictures.description}",
        identity=identity,
        of_pictures=True,
    )


def _files_of(folder: Path) -> list[Path]:
    kinds = (*SUFFIXES, *LATENTS)
    found = files_below(folder, kinds)
    if not found:
        raise InputError(f"{folder} holds no picture and no latents ({', '.join(kinds)}); name a folder that does")
    return found


def _identity(files: Mapping[Path, frozenset[str]]) -> str:
    """Sixteen hexadecimal digits of the files' contents and categories, wherever they lie."""
    entries = sorted((_digest(file), *sorted(categories)) for file, categories in files.items())
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    try:
        require_plain(path)
        return Checksum.of_file(path).sha256
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); remove it") from error
