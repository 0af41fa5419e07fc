"""The models that ship with the package, and the manifest that says what their files must be."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from latent_guard.building import checked
from latent_guard.documents import read_json
from latent_guard.errors import CheckpointError, InputError

BUNDLE = Path(__file__).parent / "bundle"
GRADER = Path(__file__).parent / "grader"
FEW_STEP = Path(__file__).parent / "few_step"
PIXEL_DRAWS = Path(__file__).parent / "pixel_draws"
MANIFEST = "manifest.json"


@lru_cache(maxsize=1)
def bundle_folder() -> Path:
    """The folder of the shipped models, after comparing every file with the manifest.

    It holds ``pipeline/`` (diffusers), ``guard/``, ``pixel_twin/`` and, from before the guard was trained on estimates,
    ``clean/`` (LatentCLIP), ``bank/`` (ConceptBank), ``labeller/`` and ``judge/`` (EmojiClassifier).

    Raises:
        CheckpointError: a file is missing or altered.
    """
    verify(BUNDLE)
    return BUNDLE


@lru_cache(maxsize=1)
def grader_folder() -> Path:
    """The folder of the CLIP on pixels that grades pictures (LatentCLIP's format), compared with its manifest.

    It shares scenes, captions, seeds and weights with no other model of the world.

    Raises:
        CheckpointError: a file is missing or altered.
    """
    verify(GRADER)
    return GRADER


@lru_cache(maxsize=1)
def pixel_draws_folder() -> Path:
    """The folder of what the pixel twin saw of the bank's calibration draws, compared with its manifest.

    It saves methods in pixels, which are there to be compared with, 2,500 generations.

    Raises:
        CheckpointError: a file is missing or altered.
    """
    verify(PIXEL_DRAWS)
    return PIXEL_DRAWS


@lru_cache(maxsize=1)
def few_step_folder() -> Path:
    """The folder of the generator of at most four steps (``unet/``, ``scheduler/``), compared with its manifest.

    Raises:
        CheckpointError: a file is missing or altered.
    """
    verify(FEW_STEP)
    return FEW_STEP


def verify(folder: Path) -> None:
    """Compare every file that the manifest names with its SHA-256.

    Raises:
        CheckpointError: the manifest or a file is missing, or a file is not what the manifest says.
    """
    try:
        manifest = read_json(folder / MANIFEST, "the manifest")
        expected = checked(dict[str, str], manifest, str(folder / MANIFEST), "it")
    except InputError as error:
        raise CheckpointError(f"{folder / MANIFEST} is missing or damaged; install the package again") from error
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; install the package again")
        if sha256(path) != digest:
            raise CheckpointError(
                f"{path} is not the file that shipped (its SHA-256 differs); install the package again"
            )


def write_manifest(folder: Path) -> None:
    """Record the SHA-256 of every file in ``folder``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    digests = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(digests, indent=1) + "\n")


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
