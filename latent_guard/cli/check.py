"""``latent-guard check``: moderate pictures or latents that exist already."""

from __future__ import annotations

from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latent_guard.cli.findings_file import FindingsFile
    from latent_guard.guidance.moderation import Finding, Moderator


class Format(str, Enum):
    """How verdicts are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


_Scaled = Annotated[bool, typer.Option("--pipeline-latents", help="Latents are a pipeline's own, not raw.")]


def check(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, .safetensors files of latents, or folders of them.")],
    model: Annotated[str | None, typer.Option(help="Pipeline whose VAE reads pictures; by default shipped.")] = None,
    guard: Annotated[str | None, typer.Option(help="Latent-CLIP; by default beside the model.")] = None,
    bank: Annotated[Path | None, typer.Option(help="Concept bank; by default beside the model.")] = None,
    pipeline_latents: _Scaled = False,
    form: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.table,
    out: Annotated[
        Path | None, typer.Option(help="Write to this .jsonl or .csv file instead; an interrupted run goes on from it.")
    ] = None,
) -> None:
    """Score finished images against the concept bank. Exit code 2 if a file could not be read."""
    files, skipped = _files_of(paths)
    if skipped:
        kinds = ", ".join(sorted({path.suffix.lower() or "no suffix" for path in skipped}))
        typer.echo(f"files skipped, neither pictures nor latents: {len(skipped)} ({kinds})", err=True)

    from rich.console import Console

    from latent_guard.cli.findings import header, lines_of, table_of, what_made
    from latent_guard.cli.findings_file import FindingsFile
    from latent_guard.cli.loading import load_guard, load_vae
    from latent_guard.guidance.moderation import LATENTS, UNREADABLE, Moderator

    with ExitStack() as held:
        with Console(stderr=True).status("loading the models"):
            watcher = load_guard(model, guard, bank)
            made_by = what_made(watcher.bank, model, pipeline_latents)
            names = [str(path) for path in files]
            log = held.enter_context(FindingsFile(out, made_by, names)) if out else None
            needs_vae = any(path.suffix.lower() not in LATENTS for path in files)
            moderator = Moderator(watcher, load_vae(model) if needs_vae else None)
        findings = _checked(moderator, files, pipeline_latents, log)
        decided = log.decisions() if log else [(finding.file, finding.decision) for finding in findings]
    decisions = [decision for _, decision in decided]
    if log:
        typer.echo(f"{out}: " + ", ".join(f"{decisions.count(kind)} {kind}" for kind in dict.fromkeys(decisions)))
    elif form is Format.table:
        Console().print(table_of(findings))
    else:
        typer.echo(header(f".{form.value}") + lines_of(findings, f".{form.value}", made_by), nl=False)
    if unreadable := decisions.count(UNREADABLE):
        first = next((f"; {f.file}: {f.error}" for f in findings if f.error), "")
        count = len({file for file, _ in decided})
        raise InputError(f"{unreadable} of {count} files could not be read and were not checked{first}")


def _checked(moderator: Moderator, files: Sequence[Path], scaled: bool, log: FindingsFile | None) -> list[Finding]:
    """The findings of the files that are not in the log yet, under a progress bar; the log gets them as they come."""
    from rich.console import Console
    from rich.progress import track

    from latent_guard.cli.findings_file import grouped

    console = Console(stderr=True)
    groups = log.groups(files) if log else grouped(files)
    again = [moderator.check(group, scaled=scaled) for group in grouped(log.unreadable(files))] if log else []
    findings = [finding for found in again for finding in found]
    if log:
        log.replace(findings)
    for group in track(groups, "checking", console=console, transient=True, disable=not console.is_terminal):
        found = moderator.check(group, scaled=scaled)
        if log:
            log.add(found)
        findings += found
    return findings


def _files_of(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files named, and those in the folders named, each once, in order; and what is skipped in the folders.

    Raises:
        InputError: a path that does not exist, a file of a kind that cannot be checked, or nothing at all.
    """
    from latent_guard.guidance.moderation import LATENTS, PICTURES

    kinds = (*PICTURES, *LATENTS)
    files: list[Path] = []
    skipped: list[Path] = []
    for path in paths:
        if path.is_dir():
            for file in sorted(file for file in path.rglob("*") if file.is_file()):
                (files if file.suffix.lower() in kinds else skipped).append(file)
        elif not path.exists():
            raise InputError(f"{path} does not exist")
        elif path.suffix.lower() not in kinds:
            raise InputError(f"{path} is neither a picture nor latents; known are {', '.join(kinds)}")
        else:
            files.append(path)
    if not files:
        raise InputError(f"{', '.join(map(str, paths))} holds no picture and no latents ({', '.join(kinds)})")
    return list(dict.fromkeys(files)), list(dict.fromkeys(skipped))
