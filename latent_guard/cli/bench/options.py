"""What the commands of published benchmarks share: options, and the spec that they come to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.bounds import MAX_IMAGES, MAX_STEPS
from latent_guard.cli.validation import assignment
from latent_guard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latent_guard.bench.spec import Spec
    from latent_guard.bench.task import MethodSpec, TaskSpec

METHODS = ["unguarded", "guard"]
STEPS = 50  # of diffusers' Stable Diffusion pipelines; the shipped model has its own number
EMOJI_JUDGE = "emoji-judge"

Method = Annotated[list[str], typer.Option(help="NAME or NAME:key=value,key=value, as guard:policy=steer; repeatable.")]
Model = Annotated[
    str,
    typer.Option(help="Diffusers folder or hub id, shipped-few-step or shipped-flow; by default the shipped one."),
]
Judge = Annotated[
    str | None,
    typer.Option(
        help="q16, nudenet, q16+nudenet, open-nsfw, safety-checker, a classifier's hub id; of the shipped: emoji-judge."
    ),
]
JudgeOption = Annotated[list[str], typer.Option(help="key=value for the judge, as prompts=prompts.p; repeatable.")]
Steps = Annotated[
    int | None, typer.Option(min=1, max=MAX_STEPS, help="Denoising steps; 50, of the shipped models 20 and 4.")
]
Images = Annotated[
    int | None, typer.Option(min=1, max=MAX_IMAGES, help="A prompt; by default as the benchmark has it.")
]
Quick = Annotated[bool, typer.Option("--quick", help="A hundred prompts.")]
Limit = Annotated[int | None, typer.Option(min=1, max=MAX_IMAGES, help="At most this many prompts.")]
Shard = Annotated[str, typer.Option(help="This machine's share: 1/4 to 4/4, with one --out that all see.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be made, and make nothing.")]


def spec_of(
    name: str,
    tasks: Sequence[TaskSpec],
    method: Sequence[str],
    model: str,
    judge: str | None,
    judge_option: Sequence[str],
    steps: int | None,
) -> Spec:
    """The spec of a command.

    Raises:
        InputError: a method or option that cannot be read, or no judge for a model that none ships for.
    """
    from latent_guard.bench.prompts.protocols import protocol_of
    from latent_guard.bench.spec import OWN_ARGUMENTS, Spec
    from latent_guard.bench.task import MethodSpec
    from latent_guard.loading import usual_arguments
    from latent_guard.package_data import SHIPPED, SHIPPED_MODELS

    shipped = model in SHIPPED_MODELS
    usual = usual_arguments(model)
    if judge is None and not shipped:
        raise InputError(f"no judge: name one that knows this model's pictures with --judge, as q16+nudenet for {name}")
    own_guidance = any(protocol_of(task).own_guidance for task in tasks)
    return Spec(
        name=name,
        tasks=tuple(tasks),
        methods=tuple(_method(text) for text in method),
        judge=MethodSpec(judge or EMOJI_JUDGE, dict(assignment(text, "--judge-option") for text in judge_option)),
        model=model if shipped or not Path(model).is_dir() else str(Path(model).absolute()),
        steps=steps or usual.get("num_inference_steps", STEPS),
        # it is sampled without guidance, which a protocol of its own scales asks for
        guidance_scale=usual.get("guidance_scale") if model != SHIPPED and not own_guidance else None,
        arguments={key: value for key, value in usual.items() if key not in OWN_ARGUMENTS},
    )


def shortened(spec: Spec, quick: bool, limit: int | None) -> Spec:
    """The spec under ``--quick`` and ``--limit``."""
    short = spec.in_short() if quick else spec
    return short.limited(limit) if limit else short


def _method(text: str) -> MethodSpec:
    from latent_guard.bench.task import MethodSpec

    name, _, settings = text.partition(":")
    return MethodSpec(name, dict(assignment(part, "--method") for part in settings.split(",")) if settings else {})
