"""``latent-guard world``: preview the embedded world, or train its models from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latent_guard.cli.commands import Commands
from latent_guard.cli.places import OutFile, OutFolder
from latent_guard.terminal import say

app = Commands(help="The embedded worlds that ship with the package.")
emoji = Commands(help="Emoji World: scenes of Noto Color Emoji.")
app.add_typer(emoji, name="emoji")

MAX_SEED = 500_000_000  # times a million and ten thousand, it has to fit a generator's 64 bits
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of everything random.")]
_Png = Annotated[Path, typer.Option(help="PNG to write.", parser=OutFile("--out", (".png",)))]


@emoji.command()
def preview(
    out: _Png = Path("outputs/emoji_world.png"),
    seed: Seed = 0,
) -> None:
    """Write a labelled contact sheet of the world's scenes."""
    from latent_guard.worlds.emoji.preview import write_preview

    write_preview(out, seed)
    say(f"wrote {out}")


@emoji.command()
def build(
    folder: Annotated[
        Path, typer.Argument(help="Where stages, their resume files and the bundle go.", parser=OutFolder("FOLDER"))
    ],
    seed: Seed = 0,
    fast: Annotated[bool, typer.Option("--fast", help="A miniature build that takes minutes, as a test.")] = False,
    from_shipped: Annotated[
        bool, typer.Option("--from-shipped", help="Start from the shipped models instead of from scratch.")
    ] = False,
) -> None:
    """Train every model of the world from scratch with one seed; an interrupted build is resumed."""
    from latent_guard.worlds.emoji.build import build as run

    run(folder, seed, fast, from_shipped)
