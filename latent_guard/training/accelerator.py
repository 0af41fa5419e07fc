"""The processes of a run, and the trackers that receive its curve."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import Accelerator

from latent_guard.errors import InputError
from latent_guard.training.recipe import Recipe


def new_accelerator(recipe: Recipe) -> Accelerator:
    """Join the processes of the run, and start its trackers.

    Trackers write below ``recipe.out``, or where their own settings say.

    Raises:
        InputError: a tracker is not installed.
    """
    if missing := [name for name in recipe.trackers if find_spec(name) is None]:
        raise InputError(f"trackers: {missing[0]} is not installed; pip install {missing[0]}, or leave it out")
    accelerator = Accelerator(
        mixed_precision="no",  # the towers use autocast themselves, and losses stay in float32
        cpu=not torch.cuda.is_available(),
        log_with=recipe.trackers or None,
        project_dir=recipe.out if recipe.trackers else None,
    )
    if recipe.trackers:
        settings = {key: str(value) for key, value in recipe.to_dict().items()}
        accelerator.init_trackers(Path(recipe.out).name, config=settings)
    return accelerator
