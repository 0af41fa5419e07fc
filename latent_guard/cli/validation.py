"""Arguments and options that commands which generate images share, and their validation."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from latent_guard.bounds import MAX_BATCH, MAX_SEED
from latent_guard.errors import InputError
from latent_guard.pipelines.prompt_truncation import require_text

Prompt = Annotated[str, typer.Argument(help="The prompt.")]
NumImages = Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="How many images.")]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the first image; each further one adds 1.")]


def check_request(prompt: str, num_images: int, seed: int) -> None:
    """Raises InputError for a prompt that is empty or no text, or seeds that end beyond the last."""
    if not prompt.strip():
        raise InputError("the prompt is empty; say what to draw")
    require_text(prompt)
    if seed + num_images - 1 > MAX_SEED:
        raise InputError(f"--seed is {seed}; the last of {num_images} images would have one of 2**63 or more")


def assignment(text: str, option: str) -> tuple[str, Any]:
    """``key=value``, the value as YAML reads it: numbers are numbers, ``[a, b]`` is a list."""
    from latent_guard.files.documents import yaml_value

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InputError(f"{option}: {text!r} is not key=value")
    return key.strip(), yaml_value(value, f"{option}: the value of {text!r}")
