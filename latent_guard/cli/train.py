"""``latent-guard train``: train a Latent-CLIP from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from latent_guard.cli.places import OutFolder, require_folder
from latent_guard.errors import CheckpointError, InputError

_Out = Annotated[Path | None, typer.Option(help="Folder for the model and its checkpoints.", parser=OutFolder("--out"))]


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="YAML recipe, or one that ships: latent-vit-b-8, latent-vit-b-4-plus (these need --data and --out)."
        ),
    ],
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder of latent shards; give it several times for several.")
    ] = None,
    out: _Out = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            help="Start from a Latent-CLIP or a CLIP on pixels: its folder or hub id, open_clip's "
            "MODEL:PRETRAINED or hf-hub:OWNER/NAME."
        ),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start from step 0, whatever --out holds.")] = False,
) -> None:
    """Train a Latent-CLIP on latent shards; an interrupted run is resumed by the same command.

    `accelerate launch -m latent_guard train ...` or `torchrun -m latent_guard train ...` shares each batch between
    processes. Options replace what the recipe says.
    """
    from latent_guard.training.loop import train as run
    from latent_guard.training.recipe import Recipe

    changes: dict[str, Any] = {
        "data": [str(folder) for folder in data or []],
        "out": out and str(out),
        "init_from": init_from,
    }
    chosen = Recipe.read(recipe, **{key: value for key, value in changes.items() if value})
    require_folder(chosen.out, "out")
    canary = _canary_of([Path(folder) for folder in chosen.data])
    run(chosen, resume=not restart)
    if canary is not None:
        _take_canary(canary, Path(chosen.out))


def _canary_of(data: list[Path]) -> Path | None:
    """The first folder of shards that holds a canary, by which a guard recognises its VAE; None without one.

    Raises:
        InputError: one is damaged.
    """
    from latent_guard.pipelines.canary import CANARY_FILE, Canary
    from latent_guard.training.data.checking import fix_for

    having = [folder for folder in data if (folder / CANARY_FILE).exists()]
    for folder in having:
        try:
            Canary.load(folder)
        except CheckpointError as error:
            raise InputError(f"{folder / CANARY_FILE} is damaged; {fix_for(folder)}") from error
    return having[0] if having else None


def _take_canary(folder: Path, out: Path) -> None:
    """Copy the canary beside the model, which makes the folder a guard's."""
    from latent_guard.files.atomic import write_atomic
    from latent_guard.pipelines.canary import CANARY_FILE, Canary

    try:
        Canary.load(out)
    except CheckpointError:  # there is none yet, or a damaged one
        write_atomic(out / CANARY_FILE, (folder / CANARY_FILE).read_bytes())
