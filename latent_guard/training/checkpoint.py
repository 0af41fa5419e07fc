"""What a run leaves in its folder: how to go on while it lasts, how it was made once it is over.

resume.pt        step, weights, optimizers' state, curve; the place in the data is the step; ends with its checksum
training.json    recipe, samples seen, losses, versions: the run is finished
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
from latent_guard.files.atomic import write_whole, written_whole
from latent_guard.files.checksums import check_end, end_with_checksum
from latent_guard.files.documents import read_json
from latent_guard.latent_clip.checkpoint import CONFIG
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.learning_curve import Point
from latent_guard.training.recipe import Recipe
from latent_guard.training.towers import Towers

RESUME, RECORD = "resume.pt", "training.json"
AFRESH = "delete it to start the run afresh, or give --restart"
# a run may go on with others: what it is computed with, and what is watched on the way
_OF_NO_MATTER = ("out", "trackers", "evaluate", "save_every", "micro_batch", "compile", "checkpoint_gradients")


def save(
    path: Path,
    step: int,
    points: Sequence[Point],
    towers: Towers,
    optimizers: Sequence[torch.optim.Optimizer],
    recipe: Recipe,
) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        InputError: it cannot be written (a full disk); the one before stays good.
    """
    state = {
        "step": step,
        "points": [asdict(point) for point in points],
        "recipe": _identity(recipe),
        "towers": towers.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    with written_whole(path) as partial:
        torch.save(state, partial)
        end_with_checksum(partial)


def load(
    path: Path, towers: Towers, optimizers: Sequence[torch.optim.Optimizer], recipe: Recipe
) -> tuple[int, list[Point]]:
    """Fill model and optimizers from a checkpoint; its step, and the curve up to there.

    Raises:
        InputError: it is of another recipe.
        CheckpointError: damaged.
    """
    try:
        has_checksum = check_end(path)
    except (InputError, OSError) as error:
        raise CheckpointError(f"{path} is damaged; {AFRESH}") from error
    if not has_checksum:
        warnings.warn(f"{path} is of an older version, without a checksum: damage to it cannot be told", stacklevel=2)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        _check_same_run(state["recipe"], recipe, path)
        towers.load_state_dict(state["towers"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return int(state["step"]), [Point(**point) for point in state["points"]]
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is damaged; {AFRESH}") from error


def finished(out: Path, recipe: Recipe) -> LatentCLIP | None:
    """This run's result, where ``out`` holds it.

    Raises:
        InputError: it holds another recipe's.
        CheckpointError: its record is damaged, or the model is not the one that the record tells of.
    """
    path = out / RECORD
    if not path.exists():
        return None
    try:
        record = read_json(path, "the record of the run")
        stored, fingerprint = _identity(Recipe.from_dict(record["recipe"])), str(record["fingerprint"])
    except (InputError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged; {AFRESH}") from error
    _check_same_run(stored, recipe, path)
    try:
        model = LatentCLIP.from_pretrained(out)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; or train it again with --restart") from error
    if model.fingerprint() != fingerprint:
        raise CheckpointError(f"{out} holds other weights than {RECORD} tells of; train it again with --restart")
    return model


def require_own(out: Path) -> None:
    """Raise InputError if ``out`` is no folder, or holds a model that no such run left: it would be written over."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; choose a folder for out")
    if (out / CONFIG).exists() and not any((out / name).exists() for name in (RESUME, RECORD)):
        raise InputError(f"{out} holds a Latent-CLIP that `latent-guard train` did not leave there; choose another out")


def write_record(out: Path, recipe: Recipe, **facts: Any) -> None:
    """Say that the run is over, and how it went."""
    record = {"recipe": recipe.to_dict(), "samples_seen": recipe.steps * recipe.batch_size, **facts}
    write_whole(out / RECORD, (json.dumps(record, indent=2) + "\n").encode())


def _check_same_run(stored: dict[str, Any], recipe: Recipe, path: Path) -> None:
    asked = _identity(recipe)
    if changed := sorted(key for key in asked if stored.get(key) != asked[key]):
        raise InputError(f"{path} is of a run with another {changed[0]}; choose another out, or do not resume")


def _identity(recipe: Recipe) -> dict[str, Any]:
    """What makes two runs the same one."""
    return {key: value for key, value in recipe.to_dict().items() if key not in _OF_NO_MATTER}
