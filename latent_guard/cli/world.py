"""``latent-guard world``: look at the embedded world, or train it again from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latent_guard.cli.commands import Commands

app = Commands(help="The embedded worlds that ship with the package.")
emoji = Commands(help="Emoji World: scenes of Noto Color Emoji.")
app.add_typer(emoji, name="emoji")

MOST_SEED = 500_000_000  # times a million and ten thousand, it has to fit a generator's 64 bits
Seed = Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Decides everything random.")]


@emoji.command()
def preview(
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("outputs/emoji_world.png"),
    seed: Seed = 0,
) -> None:
    """Write a labelled contact sheet of the world's scenes."""
    from latent_guard.cli.outputs import check_writable
    from latent_guard.worlds.emoji.preview import write_preview

    check_writable(out.parent)
    write_preview(out, seed)
    typer.echo(f"wrote {out}")


@emoji.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Where stages, their resume files and the bundle go.")],
    seed: Seed = 0,
    fast: Annotated[bool, typer.Option("--fast", help="In miniature, in minutes: to see that it works.")] = False,
    from_shipped: Annotated[
        bool, typer.Option("--from-shipped", help="Train on from the shipped models instead of from nothing.")
    ] = False,
) -> None:
    """Train every model of the world from nothing with one seed; an interrupted build goes on where it stopped."""
    from latent_guard.cli.outputs import check_writable
    from latent_guard.worlds.emoji.build import build as run

    check_writable(folder)
    run(folder, seed, fast, from_shipped)
