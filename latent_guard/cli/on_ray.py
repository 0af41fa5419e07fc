"""The option of commands whose work a Ray cluster can share: ``--ray ADDRESS``."""

from __future__ import annotations

from typing import Annotated

import typer

from latent_guard.errors import InputError

RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Share the work between the workers of a Ray cluster: host:port, auto for the one that this machine is "
        "part of, or local for one on this machine alone.  [needs the extra ray]",
    ),
]


def require_one_way_to_share(ray: str | None, shard: str) -> None:
    """
    Raises:
        InputError: the work is to be shared on Ray and by ``--shard`` too.
    """
    if ray and shard != "1/1":
        raise InputError("--ray shares the work between its machines itself; leave --shard out")
