"""``latent-guard train``: train a Latent-CLIP from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe: data, model, steps, learning rate, seed, out.")],
) -> None:
    """Train a Latent-CLIP on latent shards, resuming an interrupted run of the same recipe."""
    from latent_guard.training.loop import train as run
    from latent_guard.training.recipe import Recipe

    run(Recipe.read(recipe))
