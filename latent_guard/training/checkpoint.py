"""The files of a run: a checkpoint while it is under way, and a record once it is finished.

resume.pt        step, weights, optimizers' state, curve, and a checksum at its end; the step says where in the data
training.json    recipe, samples seen, losses, versions; it exists only for finished runs
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from latent_guard.errors import CheckpointError, InputError
from latent_guard.files.atomic import atomic_file, write_atomic
from latent_guard.files.checksums import append_checksum, verify_appended
from latent_guard.files.documents import read_json
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.model_files import CONFIG
from latent_guard.training.learning_curve import Point
from latent_guard.training.recipe import Recipe
from latent_guard.training.towers import Towers

RESUME = "resume.pt"
RECORD = "training.json"
_HOW_TO_FIX = "delete it to start the run again, or give --restart"
# A run may resume with other values of these: they change how it is computed or watched, not its result.
_NOT_OF_IDENTITY = ("out", "trackers", "evaluate", "save_every", "micro_batch", "compile", "checkpoint_gradients")


def save(
    path: Path,
    step: int,
    points: Sequence[Point],
    towers: Towers,
    optimizers: Sequence[torch.optim.Optimizer],
    recipe: Recipe,
) -> None:
    """Write a checkpoint atomically.

    Raises:
        InputError: it cannot be written (a full disk); the earlier checkpoint stays good.
    """
    state = {
        "step": step,
        "points": [asdict(point) for point in points],
        "recipe": _identity(recipe),
        "towers": towers.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    with atomic_file(path) as partial:
        torch.save(state, partial)
        append_checksum(partial)


def load(
    path: Path, towers: Towers, optimizers: Sequence[torch.optim.Optimizer], recipe: Recipe
) -> tuple[int, list[Point]]:
    """Load a checkpoint into model and optimizers.

    Returns:
        The number of steps done, and the curve up to there.

    Raises:
        InputError: the checkpoint is of another recipe.
        CheckpointError: the checkpoint is damaged.
    """
    try:
        has_checksum = verify_appended(path)
    except (InputError, OSError) as error:
        raise CheckpointError(f"{path} is damaged; {_HOW_TO_FIX}") from error
    if not has_checksum:
        warnings.warn(
            f"{path} is of an older version, without a checksum: damage to it cannot be detected", stacklevel=2
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        _check_same_run(state["recipe"], recipe, path)
        towers.load_state_dict(state["towers"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return int(state["step"]), [Point(**point) for point in state["points"]]
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is damaged; {_HOW_TO_FIX}") from error


def load_finished(out: Path, recipe: Recipe) -> LatentCLIP | None:
    """Load the model of this run from ``out``; None if the run is not finished.

    Raises:
        InputError: ``out`` holds the result of another recipe.
        CheckpointError: the record is damaged, or the model is not the recorded one.
    """
    path = out / RECORD
    if not path.exists():
        return None
    try:
        record = read_json(path, "the record of the run")
        stored = _identity(Recipe.from_dict(record["recipe"]))
        fingerprint = str(record["fingerprint"])
    except (InputError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged; {_HOW_TO_FIX}") from error
    _check_same_run(stored, recipe, path)
    try:
        model = LatentCLIP.from_pretrained(out)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; or train it again with --restart") from error
    if model.fingerprint() != fingerprint:
        raise CheckpointError(f"{out} holds other weights than {RECORD} records; train it again with --restart")
    return model


def require_own_folder(out: Path) -> None:
    """Raise InputError if ``out`` is a file, or holds a model that no training run wrote: it would be overwritten."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; choose a folder for out")
    if (out / CONFIG).exists() and not any((out / name).exists() for name in (RESUME, RECORD)):
        raise InputError(f"{out} holds a Latent-CLIP that `latent-guard train` did not leave there; choose another out")


def write_record(out: Path, recipe: Recipe, **facts: Any) -> None:
    """Write the record of a finished run."""
    record = {"recipe": recipe.to_dict(), "samples_seen": recipe.steps * recipe.batch_size, **facts}
    write_atomic(out / RECORD, (json.dumps(record, indent=2) + "\n").encode())


def _check_same_run(stored: dict[str, Any], recipe: Recipe, path: Path) -> None:
    current = _identity(recipe)
    if changed := sorted(key for key in current if stored.get(key) != current[key]):
        raise InputError(f"{path} is of a run with another {changed[0]}; choose another out, or do not resume")


def _identity(recipe: Recipe) -> dict[str, Any]:
    """The part of a recipe that decides whether two runs are the same."""
    return {key: value for key, value in recipe.to_dict().items() if key not in _NOT_OF_IDENTITY}
