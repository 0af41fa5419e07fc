"""The command tree: one file a command."""

from __future__ import annotations

from functools import cache
from typing import Any

import typer

from latent_guard.cli import (
    adapt,
    audit,
    bench,
    check,
    concepts,
    convert,
    doctor,
    encode,
    fit,
    generate,
    policy,
    reno,
    review,
    serve,
    train,
    world,
    zero_shot,
)
from latent_guard.cli.commands import Commands

# The base of whatever is wrong with a command line, of which typer has no name of its own.
WrongUsage: Any = typer.BadParameter.__mro__[2]

app = Commands(
    help="Content safety for latent diffusion: checks and steers an image while it is still a latent.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(generate.generate)
app.command()(fit.fit)
app.command()(doctor.doctor)
app.command()(reno.reno)
app.command()(check.check)
app.command()(train.train)
app.command()(encode.encode)
app.command()(convert.convert)
app.command()(adapt.adapt)
app.command("zero-shot")(zero_shot.zero_shot)
app.command()(serve.serve)
app.command()(review.review)
app.command("review-key")(review.review_key)
app.command("review-purge")(review.review_purge)
app.add_typer(bench.app, name="bench")
app.add_typer(concepts.app, name="concepts")
app.add_typer(world.app, name="world")
app.add_typer(policy.app, name="policy")
app.add_typer(audit.app, name="audit")


@cache
def command() -> Any:
    """The whole tree as one click command."""
    return typer.main.get_command(app)
