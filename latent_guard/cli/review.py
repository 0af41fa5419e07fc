"""``latent-guard review``: a local page on which people look at what the guard withheld, and decide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latent_guard.cli.places import OutFile
from latent_guard.extras import imports_of
from latent_guard.terminal import note, say, warn

_Folder = Annotated[Path, typer.Argument(help="Folder of withheld images.")]
_KeyFile = Annotated[
    Path, typer.Argument(help="File of the private half; the public one gets .pub.", parser=OutFile("FILE"))
]


def review(
    folder: _Folder,
    key: Annotated[Path, typer.Option(help="The private review key.")],
    reviewer: Annotated[str, typer.Option(help="Whose decisions they are.")] = "",
) -> None:
    """Show withheld images on a local page, and write down what a reviewer decides. Ctrl-C ends it."""
    with imports_of("serve"):
        from latent_guard.review.keys import read_private_key
        from latent_guard.review.queue import ReviewQueue
        from latent_guard.review.server import ReviewServer
        from latent_guard.review.store import purge

    queue = ReviewQueue(folder, read_private_key(key))
    if deleted := purge(folder):
        note(f"deleted {deleted} images whose time had come")
    if lost := queue.log.latest()[1]:
        warn(f"{lost} lines of {queue.log.path} are no decisions and do not count")
    server = ReviewServer(queue, reviewer)
    say(f"open {server.address}")
    server.run()


def review_key(file: _KeyFile) -> None:
    """Make a review key: a private half for reviewers, and a public one for the servers that keep images."""
    with imports_of("serve"):
        from latent_guard.review.keys import make_keys

    public = make_keys(file)
    say(f"wrote {file}, which opens the images: keep a copy, and let no server have it")
    say(f"wrote {public}, which seals them: give it to the servers")


def review_purge(folder: _Folder) -> None:
    """Delete the withheld images whose days are over; no key is needed."""
    with imports_of("serve"):
        from latent_guard.review.store import purge

    say(f"deleted {purge(folder)} images")
