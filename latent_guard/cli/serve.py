"""``latent-guard serve``: images over HTTP in OpenAI's schema, watched while they are still latents."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.bounds import MAX_BATCH, MAX_STEPS
from latent_guard.cli.places import OutFile, OutFolder
from latent_guard.errors import InputError
from latent_guard.extras import imports_of
from latent_guard.terminal import note, status

if TYPE_CHECKING:
    from latent_guard.guidance.audit import AuditLog
    from latent_guard.review.store import ReviewStore
    from latent_guard.serving.settings import Settings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_STEPS = 20


def serve(
    model: Annotated[
        str, typer.Argument(help="Diffusers folder or hub id; `shipped`, shipped-few-step or shipped-flow.")
    ] = "shipped",
    guard: Annotated[str | None, typer.Option(help="Guard folder or hub id; by default the model's own.")] = None,
    bank: Annotated[Path | None, typer.Option(help="Concept bank folder; by default the guard's.")] = None,
    policy: Annotated[str | None, typer.Option(help="Policy, by name or file; by default the guard's own.")] = None,
    host: Annotated[str, typer.Option(help="Address; any but the own machine's needs LATENT_GUARD_API_KEYS.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 is any that is free.")] = 8000,
    on_block: Annotated[
        str, typer.Option(help="neutral: leave withheld images out; blur: blur them; raise: refuse the request.")
    ] = "neutral",
    review: Annotated[
        Path | None,
        typer.Option(
            help="Keep withheld images here, drawn to their end, sealed for the key file in LATENT_GUARD_REVIEW_KEY.",
            parser=OutFolder("--review"),
        ),
    ] = None,
    keep_days: Annotated[
        float | None, typer.Option(min=0.01, max=36_500, help="Days for which --review keeps an image; 30 by default.")
    ] = None,
    max_batch: Annotated[
        int, typer.Option(min=1, max=MAX_BATCH, help="Images drawn together; a lone one costs as much as so many.")
    ] = 4,
    queue: Annotated[int, typer.Option(min=1, max=100_000, help="Requests that may wait.")] = 64,
    deadline: Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds for a request.")] = 60.0,
    grace: Annotated[float, typer.Option(min=0, max=86_400, help="Seconds to finish in when stopped.")] = 30.0,
    max_steps: Annotated[
        int | None, typer.Option(min=1, max=MAX_STEPS, help="Steps a client may ask for; by default the guard's.")
    ] = None,
    max_images: Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Images a request may ask for.")] = 4,
    sizes: Annotated[list[str] | None, typer.Option(help="WIDTHxHEIGHT to offer, each tried out at the start.")] = None,
    audit: Annotated[
        Path | None, typer.Option(help="Append one line a verdict to this log.", parser=OutFile("--audit"))
    ] = None,
    audit_rotate: Annotated[
        int | None,
        typer.Option(min=1, max=10**15, help="Bytes at which --audit goes on in another file; by default never."),
    ] = None,
    reload: Annotated[
        Path | None, typer.Option(help="Watch this folder: its policy.yaml and bank/ replace the guard's.")
    ] = None,
    image_hosts: Annotated[
        list[str] | None, typer.Option(help="Hosts whose pictures /v1/moderations may fetch; by default none.")
    ] = None,
    categories: Annotated[
        Path | None, typer.Option(help="Which of the bank's categories stand for OpenAI's moderation categories, YAML.")
    ] = None,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write prompts into the access log.")] = False,
) -> None:
    """Serve images over HTTP, in OpenAI's schema. Keys come by LATENT_GUARD_API_KEYS and LATENT_GUARD_ADMIN_TOKEN."""
    with imports_of("serve"):
        from latent_guard.serving.app import create_app
        from latent_guard.serving.reloading import Reloading, require_folder, with_parts_of
        from latent_guard.serving.run_server import listening, run_server
        from latent_guard.serving.service import Service
        from latent_guard.serving.settings import Settings, secrets_of

    from latent_guard.guidance.policy_file import policy_named
    from latent_guard.loading import load_guard, load_pipeline, usual_arguments
    from latent_guard.serving.moderation.category_table import CategoryTable

    keys, token = secrets_of()
    settings = Settings(
        on_block,  # type: ignore[arg-type]  # it refuses what it does not know
        max_batch=max_batch,
        queue=queue,
        deadline=deadline,
        grace=grace,
        max_steps=max_steps,
        max_images=max_images,
        sizes=tuple(sizes or ()),
        log_prompts=log_prompts,
        keys=keys,
        admin_token=token,
    )
    _require_keys(host, settings)
    require_folder(reload)
    store = _store(review, settings, keep_days)
    table = CategoryTable.read(categories) if categories else None
    policies = policy_named(policy) if policy else None
    log = _opened(audit, audit_rotate)
    arguments = {"num_inference_steps": _STEPS, **usual_arguments(model, guard)}
    place = listening(host, port)
    with status("loading the models"):
        steps = max(arguments["num_inference_steps"], max_steps or 1)
        pipe = load_pipeline(model, steps, max(max_batch, max_images))
        pipe.set_progress_bar_config(disable=True)
        watcher = with_parts_of(reload, load_guard(model, guard, bank, policies, log))
    _log_on_stderr()
    service = Service(pipe, watcher, settings, arguments, model, store)
    reloading = Reloading(service, reload)
    note(f"listening on http://{host}:{place.getsockname()[1]}; /health/ready says when it draws")
    run_server(create_app(service, reloading, image_hosts or (), table), service, reloading, place)


def _require_keys(host: str, settings: Settings) -> None:
    from latent_guard.serving.settings import KEYS

    if host not in _LOOPBACK and not settings.keys:
        raise InputError(f"--host {host} can be reached by others; name the keys that they must bring in {KEYS}")


def _opened(audit: Path | None, rotate_at: int | None) -> AuditLog | None:
    from latent_guard.guidance.audit import AuditLog

    if audit is None and rotate_at is not None:
        raise InputError("--audit-rotate needs --audit FILE")
    return None if audit is None else AuditLog.opened(audit, rotate_at=rotate_at)


def _store(folder: Path | None, settings: Settings, keep_days: float | None) -> ReviewStore | None:
    from latent_guard.review.keys import read_public_key
    from latent_guard.review.store import KEEP_DAYS, ReviewStore
    from latent_guard.serving.settings import REVIEW_KEY

    key = os.environ.get(REVIEW_KEY)
    if folder is None and settings.on_block == "blur":
        raise InputError(
            f"--on-block blur needs --review FOLDER and a public review key, whose file {REVIEW_KEY} names"
        )
    if folder is None and keep_days is not None:
        raise InputError("--keep-days needs --review FOLDER")
    if folder is None:
        return None
    if not key:
        raise InputError(f"--review needs a public review key; name its file in {REVIEW_KEY}")
    return ReviewStore(folder, read_public_key(key), KEEP_DAYS if keep_days is None else keep_days)


def _log_on_stderr() -> None:
    """One JSON line a request, and whatever goes wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    package = logging.getLogger("latent_guard")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
