"""``latent-guard generate``: text to images, watched and steered while they are still latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latent_guard.bounds import MAX_STEPS
from latent_guard.cli.places import OutFile, OutFolder
from latent_guard.cli.validation import NumImages, Prompt, Seed, check_request
from latent_guard.errors import BlockedError, InputError
from latent_guard.terminal import note, put_json, say, status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.verdict import Verdict

STEPS = 20


_Model = Annotated[
    str | None,
    typer.Option(help="Diffusers folder or hub id, shipped-few-step or shipped-flow; by default the shipped one."),
]
_Safe = Annotated[
    bool,
    typer.Option("--safe", help="Guard with the guard's own policy; the shipped one's is to steer, resample, block."),
]
_Guard = Annotated[
    str | None, typer.Option(help="Guard folder or hub id; by default beside the model, or fitted to it.")
]
_Bank = Annotated[Path | None, typer.Option(help="Concept bank folder; by default the guard's or beside the model.")]
_Policy = Annotated[
    str | None,
    typer.Option(
        help="Guard, with this policy instead of the guard's own: steer, resample, block, flag, lenient, standard, "
        "strict, or a YAML file."
    ),
]
_Audit = Annotated[
    Path | None,
    typer.Option(help="Append one JSON line a verdict to this log; prompts are hashed.", parser=OutFile("--audit")),
]
_Out = Annotated[Path, typer.Option(help="Folder for PNGs and JSON verdicts.", parser=OutFolder("--out"))]
_AuditPrompts = Annotated[bool, typer.Option("--audit-prompts", help="Write prompts into the audit log as they are.")]


def generate(
    prompt: Prompt,
    safe: _Safe = False,
    num_images: NumImages = 1,
    seed: Seed = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_STEPS,
            help="Denoising steps; by default those of the guard's fit, else 20 (shipped-few-step: 4).",
        ),
    ] = None,
    out: _Out = Path("outputs"),
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
    check_request(prompt, num_images, seed)
    if not guarded and (compare or as_json or audit):
        raise InputError("--compare, --json and --audit need a guarded run; add --safe or --policy")
    if audit_prompts and audit is None:
        raise InputError("--audit-prompts says how the audit log is written; name the log with --audit")

    from latent_guard.guidance.audit import AuditLog
    from latent_guard.guidance.policy_file import policy_named
    from latent_guard.loading import load_guard, load_pipeline, usual_arguments

    policies = policy_named(policy) if policy else None
    asked = {"num_images_per_prompt": num_images, **({"num_inference_steps": steps} if steps else {})}
    arguments = {"num_inference_steps": STEPS, **usual_arguments(model, guard if guarded else None), **asked}
    log = AuditLog.opened(audit, prompts=audit_prompts) if guarded and audit is not None else None
    with status("loading the models"):
        pipe = load_pipeline(model, arguments["num_inference_steps"], num_images)
        watcher = load_guard(model, guard, bank, policies, log) if guarded else None
    request = _Request(prompt, seed, model or "shipped", out, arguments)
    if watcher is None:
        _unguarded(pipe, request)
        note("unguarded; add --safe to have the latents watched")
        return
    _guarded(pipe, watcher, request, compare=compare, as_json=as_json)


@dataclass(frozen=True)
class _Request:
    """The prompt, seed, model, folder and pipeline arguments of one command."""

    prompt: str
    seed: int
    model: str
    out: Path
    arguments: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "seed": self.seed, "model": self.model, **self.arguments}


def _unguarded(pipe: Any, request: _Request) -> None:
    from latent_guard.cli.outputs import pictures, record_of
    from latent_guard.cli.replacing import replace_run
    from latent_guard.pipelines.prompt_truncation import words_dropped

    words_dropped(getattr(pipe, "tokenizer", None), [request.prompt])  # warns
    files = pictures(_plain(pipe, request))
    replace_run(request.out, record_of(request.to_dict(), None, None), files)
    for name in files:
        say(request.out / name)


def _guarded(pipe: Any, watcher: LatentGuard, request: _Request, *, compare: bool, as_json: bool) -> None:
    from latent_guard.cli.outputs import COMPARISON, comparison, pictures, record_of, verdict_files
    from latent_guard.cli.replacing import replace_run

    output = watcher.generate(pipe, request.prompt, seed=request.seed, **request.arguments)
    plain = _plain(pipe, request) if compare else []
    guarded = pictures(output.images)
    files = {**guarded, **verdict_files(output.verdicts), **pictures(plain, suffix="-unguarded")}
    if compare:
        files[COMPARISON] = comparison(plain, output.images, [v.decision.value for v in output.verdicts])
    replace_run(request.out, record_of(request.to_dict(), watcher.policies, watcher.model.fingerprint()), files)
    _report([request.out / name for name in guarded], output.verdicts, as_json)


def _plain(pipe: Any, request: _Request) -> Sequence[Image]:
    """The images of the pipeline alone, from the same noise as the guarded ones."""
    from latent_guard.pipelines.call import generators_from_seed

    generators = generators_from_seed(request.seed, request.arguments["num_images_per_prompt"])
    images: Sequence[Image] = pipe(request.prompt, generator=generators, **request.arguments).images
    return images


def _report(paths: Sequence[Path], verdicts: Sequence[Verdict], as_json: bool) -> None:
    """Print the verdicts on stdout and the table on stderr, or only the table on stdout."""
    from latent_guard.cli.outputs import summary

    try:
        if as_json:
            for verdict in verdicts:
                put_json(verdict.to_json())
        summary(paths, verdicts).show(on_stderr=as_json)
    finally:  # whatever becomes of what is printed, the exit code says so
        if all(verdict.decision.value == "blocked" for verdict in verdicts):
            raise BlockedError("every image was blocked; try another prompt or --seed")
