"""``latent-guard check``: moderate existing images or latents."""

from __future__ import annotations

from contextlib import ExitStack
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.cli.on_ray import RayAddress
from latent_guard.cli.places import OutFile
from latent_guard.errors import InputError
from latent_guard.terminal import note, put_data, say, status, track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from latent_guard.cli.findings_file import FindingsFile
    from latent_guard.guidance.moderation import Finding
    from latent_guard.serving.bulk.check import CheckJob

    CheckGroups = Callable[[Sequence[Sequence[Path]]], Iterable[list[Finding]]]


class Format(str, Enum):
    """How verdicts are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


_Scaled = Annotated[bool, typer.Option("--pipeline-latents", help="Latents are a pipeline's own, not raw.")]


def check(
    paths: Annotated[list[str], typer.Argument(help="Images, .safetensors files of latents, or folders of them.")],
    model: Annotated[
        str | None, typer.Option(help="Pipeline whose VAE encodes the images; by default the shipped one.")
    ] = None,
    guard: Annotated[str | None, typer.Option(help="Guard; by default beside the model, or fitted to it.")] = None,
    bank: Annotated[Path | None, typer.Option(help="Concept bank; by default the guard's or beside the model.")] = None,
    pipeline_latents: _Scaled = False,
    form: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.table,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write to this .jsonl or .csv file instead; an interrupted run is resumed from it.",
            parser=OutFile("--out", (".jsonl", ".csv")),
        ),
    ] = None,
    ray: RayAddress = None,
) -> None:
    """Score finished images against the concept bank. Exit code 2 if a file could not be read."""
    files, skipped = _files_of(paths)
    if skipped:
        kinds = ", ".join(sorted({path.suffix.lower() or "no suffix" for path in skipped}))
        note(f"files skipped, neither pictures nor latents: {len(skipped)} ({kinds})")

    from latent_guard.cli.check_output import header, lines_of, table_of, what_made
    from latent_guard.cli.findings_file import FindingsFile
    from latent_guard.guidance.latent_files import LATENTS
    from latent_guard.guidance.moderation import UNREADABLE
    from latent_guard.loading import load_guard
    from latent_guard.serving.bulk.check import CheckJob

    with ExitStack() as held:
        with status("loading the models"):
            watcher = load_guard(model, guard, bank)
            made_by = what_made(watcher.bank, model, pipeline_latents)
            names = [str(path) for path in files]
            log = held.enter_context(FindingsFile(out, made_by, names)) if out else None
            needs_vae = any(path.suffix.lower() not in LATENTS for path in files)
            job = CheckJob(model, guard, bank, watcher.bank.digest, needs_vae, pipeline_latents)
            check_groups = _on_ray(job, ray, held) if ray else partial(map, job.on(watcher))
        findings = _checked(check_groups, files, log)
        decided = log.decisions() if log else [(finding.file, finding.decision) for finding in findings]
    decisions = [decision for _, decision in decided]
    if log:
        say(f"{out}: " + ", ".join(f"{decisions.count(kind)} {kind}" for kind in dict.fromkeys(decisions)))
    elif form is Format.table:
        table_of(findings).show()
    else:
        put_data(header(f".{form.value}") + lines_of(findings, f".{form.value}", made_by))
    if unreadable := decisions.count(UNREADABLE):
        first = next((f"; {f.file}: {f.error}" for f in findings if f.error), "")
        count = len({file for file, _ in decided})
        raise InputError(f"{unreadable} of {count} files could not be read and were not checked{first}")


def _on_ray(job: CheckJob, address: str, held: ExitStack) -> CheckGroups:
    from latent_guard.serving.bulk.cluster import connected
    from latent_guard.serving.bulk.pool import results_of

    held.enter_context(connected(address))
    return partial(results_of, job)


def _checked(check_groups: CheckGroups, files: Sequence[Path], log: FindingsFile | None) -> list[Finding]:
    """Check the files that are not in the log yet, under a progress bar, and log each finding at once.

    What is logged is not returned, but for what could not be read: it may be more than the memory takes.
    """
    from latent_guard.cli.findings_file import grouped

    groups = log.groups(files) if log else grouped(files)
    again = check_groups(grouped(log.unreadable(files))) if log else ()
    findings = [finding for found in again for finding in found]
    if log:
        log.replace(findings)
    for found in track(check_groups(groups), "checking", len(groups)):
        if log:
            log.add(found)
        findings += [finding for finding in found if not log or finding.error]
    return findings


def _files_of(paths: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Return the files to check, each once and in order, and the files that are skipped in folders.

    An entry of a folder that is no plain file, such as a broken link, becomes a finding when it is read.

    Raises:
        InputError: a path that does not exist, a file of a kind that cannot be checked, or nothing at all.
    """
    from latent_guard.files.images import SUFFIXES
    from latent_guard.guidance.latent_files import LATENTS

    kinds = (*SUFFIXES, *LATENTS)
    files: list[Path] = []
    skipped: list[Path] = []
    for name in paths:
        path = Path(name)
        _require_there(name)
        if path.is_dir():
            for file in sorted(file for file in path.rglob("*") if not file.is_dir()):
                (files if file.suffix.lower() in kinds else skipped).append(file)
        elif path.suffix.lower() not in kinds:
            raise InputError(f"{path} is neither a picture nor latents; known are {', '.join(kinds)}")
        elif not path.is_file():
            raise InputError(f"{path} is not a plain file; give one, or a folder of files")
        else:
            files.append(path)
    if not files:
        raise InputError(f"{', '.join(paths)} holds no picture and no latents ({', '.join(kinds)})")
    return list(dict.fromkeys(files)), list(dict.fromkeys(skipped))


def _require_there(name: str) -> None:
    if not name:
        raise InputError("a path is empty; name a file or a folder (. is the working directory)")
    try:
        Path(name).stat()
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist") from error
    except (OSError, ValueError) as error:  # too long a name, a ring of links, a folder that may not be entered
        raise InputError(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})") from error
