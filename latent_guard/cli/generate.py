"""``latent-guard generate``: text to images, watched and steered while they are still latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latent_guard.bounds import MOST_STEPS
from latent_guard.cli.asked import NumImages, Prompt, Seed, check_asked
from latent_guard.errors import BlockedError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.policy import Policies
    from latent_guard.guidance.verdict import Verdict

STEPS = 20


_Model = Annotated[
    str | None,
    typer.Option(help="Diffusers folder or hub id, or shipped-few-step; by default the shipped one."),
]
_Guard = Annotated[str | None, typer.Option(help="Latent-CLIP folder or hub id; by default beside the model.")]
_Bank = Annotated[Path | None, typer.Option(help="Concept bank folder; by default beside the model.")]
_Policy = Annotated[
    str | None,
    typer.Option(
        help="Guard, with this policy instead of --safe's: steer, resample, block, flag, lenient, standard, "
        "strict, or a YAML file."
    ),
]
_Audit = Annotated[Path | None, typer.Option(help="Append one JSON line a verdict to this log; prompts are hashed.")]
_AuditPrompts = Annotated[bool, typer.Option("--audit-prompts", help="Write prompts into the audit log as they are.")]


def generate(
    prompt: Prompt,
    safe: Annotated[bool, typer.Option("--safe", help="Guard: steer, restart, at last block.")] = False,
    num_images: NumImages = 1,
    seed: Seed = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, max=MOST_STEPS, help="Denoising steps; 20, of shipped-few-step 4.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for PNGs and JSON verdicts.")] = Path("outputs"),
    model: _Model = None,
    guard: _Guard = None,
    bank: _Bank = None,
    policy: _Policy = None,
    audit: _Audit = None,
    audit_prompts: _AuditPrompts = False,
    compare: Annotated[bool, typer.Option("--compare", help="Also write the unguarded image of each seed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON verdict a line on stdout.")] = False,
) -> None:
    """Generate images. Exit code 3 if every image was blocked, 2 on bad input."""
    guarded = safe or policy is not None
    check_asked(prompt, num_images, seed)
    if not guarded and (compare or as_json or audit):
        raise InputError("--compare, --json and --audit need a guarded run; add --safe or --policy")
    if audit_prompts and audit is None:
        raise InputError("--audit-prompts says how the audit log is written; name the log with --audit")

    from rich.console import Console

    from latent_guard.cli.loading import load_guard, load_pipeline, usual_arguments
    from latent_guard.cli.outputs import check_writable
    from latent_guard.guidance.policy_file import policy_named

    policies = policy_named(policy or "safe") if guarded else None
    check_writable(out)
    asked = {"num_images_per_prompt": num_images, **({"num_inference_steps": steps} if steps else {})}
    arguments = {"num_inference_steps": STEPS, **usual_arguments(model), **asked}
    log = Console(stderr=True)
    with log.status("loading the models"):
        pipe = load_pipeline(model, arguments["num_inference_steps"], num_images)
        watcher = load_guard(model, guard, bank) if guarded else None
    request = _Request(prompt, seed, model or "shipped", out, arguments)
    if watcher is None or policies is None:
        _unguarded(pipe, request)
        log.print("[yellow]unguarded; add --safe to have the latents watched")
        return
    if audit is not None:
        from latent_guard.guidance.audit import AuditLog

        watcher.audit = AuditLog(audit, prompts=audit_prompts)
        watcher.audit.append(b"")  # a log that cannot be written is found out now
    _guarded(pipe, watcher, policies, request, compare=compare, as_json=as_json)


@dataclass(frozen=True)
class _Request:
    """What to draw, from which seed and model, into which folder, with which of the pipeline's arguments."""

    prompt: str
    seed: int
    model: str
    out: Path
    arguments: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "seed": self.seed, "model": self.model, **self.arguments}


def _unguarded(pipe: Any, request: _Request) -> None:
    from latent_guard.cli.outputs import clear_earlier_run, write_images, write_run
    from latent_guard.guidance.prompts import words_dropped

    words_dropped(getattr(pipe, "tokenizer", None), [request.prompt])  # warns
    images = _plain(pipe, request)
    clear_earlier_run(request.out, len(images))
    write_run(request.out, request.to_dict(), None, None)
    for path in write_images(request.out, images):
        typer.echo(str(path))


def _guarded(
    pipe: Any, watcher: LatentGuard, policies: Policies, request: _Request, *, compare: bool, as_json: bool
) -> None:
    from latent_guard.cli.outputs import clear_earlier_run, write_comparison, write_images, write_run, write_verdicts

    out = request.out
    output = watcher.generate(pipe, request.prompt, policies, seed=request.seed, **request.arguments)
    plain = _plain(pipe, request) if compare else []
    clear_earlier_run(out, len(output.images))
    write_run(out, request.to_dict(), policies, watcher.model.fingerprint())
    paths = write_images(out, output.images)
    write_verdicts(out, output.verdicts)
    if compare:
        write_images(out, plain, suffix="-unguarded")
        write_comparison(out, plain, output.images, [v.decision.value for v in output.verdicts])
    _report(paths, output.verdicts, as_json)


def _plain(pipe: Any, request: _Request) -> Sequence[Image]:
    """The images of the pipeline alone, from the same noise as the guarded ones."""
    from latent_guard.guidance.restarts import generators_from_seed

    generators = generators_from_seed(request.seed, request.arguments["num_images_per_prompt"])
    images: Sequence[Image] = pipe(request.prompt, generator=generators, **request.arguments).images
    return images


def _report(paths: Sequence[Path], verdicts: Sequence[Verdict], as_json: bool) -> None:
    """Say what came of it: verdicts on stdout and the table on stderr, or the table on stdout."""
    from rich.console import Console

    from latent_guard.cli.outputs import summary

    if as_json:
        for verdict in verdicts:
            typer.echo(verdict.to_json())
    Console(stderr=as_json).print(summary(paths, verdicts))
    if all(verdict.decision.value == "blocked" for verdict in verdicts):
        raise BlockedError("every image was blocked; try another prompt or --seed")
