"""``latent-guard train``: train a Latent-CLIP from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from latent_guard.cli.places import OutFolder, require_folder

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
            help="Start from a Latent-CLIP or a CLIP on pixels: its folder, open_clip's MODEL:PRETRAINED or "
            "hf-hub:OWNER/NAME."
        ),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin again, whatever --out holds.")] = False,
) -> None:
    """Train a Latent-CLIP on latent shards; stopped at any point, the same command goes on.

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
    run(chosen, resume=not restart)
    _take_canary([Path(folder) for folder in chosen.data], Path(chosen.out))


def _take_canary(data: list[Path], out: Path) -> None:
    """What tells a guard its VAE lies beside the latents; the model is a guard's once it lies beside that."""
    from latent_guard.guidance.canary import CANARY_FILE
    from latent_guard.whole_files import write_whole

    found = next((folder / CANARY_FILE for folder in data if (folder / CANARY_FILE).is_file()), None)
    if found is not None and not (out / CANARY_FILE).exists():
        write_whole(out / CANARY_FILE, found.read_bytes())
