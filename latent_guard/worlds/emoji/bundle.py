"""The folders of the models that ship with the package, each checked against its manifest."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from latent_guard.files import manifests

BUNDLE = Path(__file__).parent / "bundle"
GRADER = Path(__file__).parent / "grader"
FEW_STEP = Path(__file__).parent / "few_step"
FLOW = Path(__file__).parent / "flow"
PIXEL_DRAWS = Path(__file__).parent / "pixel_draws"


@lru_cache(maxsize=1)
def bundle_folder() -> Path:
    """The folder of the shipped models, after its files were compared with the manifest.

    It holds ``pipeline/`` (diffusers), ``guard/``, ``pixel_twin/`` and ``clean/`` (LatentCLIP; ``clean`` is the guard
    before it was trained on clean estimates), ``bank/`` (ConceptBank), ``labeller/`` and ``judge/`` (EmojiClassifier).

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
    """The folder of the pixel CLIP's embeddings of the bank's calibration images, compared with its manifest.

    It saves baselines in pixels 2,500 generations.

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


@lru_cache(maxsize=1)
def flow_folder() -> Path:
    """The folder of the rectified-flow generator (``pipeline/``, StableDiffusion3Pipeline), compared with its manifest.

    Raises:
        CheckpointError: a file is missing or altered.
    """
    verify(FLOW)
    return FLOW


def verify(folder: Path) -> None:
    """Compare every file of a shipped folder with its manifest; it may hold no other file.

    Raises:
        CheckpointError: the manifest or a file is missing, or a file differs from the manifest or is not in it.
    """
    manifests.verify(folder, "install the package again", only_these=True)


def write_manifest(folder: Path) -> None:
    """Record the SHA-256 of every file in ``folder``."""
    manifests.write_manifest(folder)
