"""What commands that draw are asked for, refused in a line where it cannot be had."""

from __future__ import annotations

from latent_guard.errors import InputError
from latent_guard.guidance.prompts import require_text

_MAX_SEED = 2**63 - 1


def check_asked(prompt: str, num_images: int, seed: int, steps: int | None) -> None:
    """Raises InputError for a prompt that is empty or no text, or a number out of range.

    No ``steps`` means the model's own.
    """
    if not prompt.strip():
        raise InputError("the prompt is empty; say what to draw")
    require_text(prompt)
    if num_images < 1:
        raise InputError(f"--num-images is {num_images}; ask for at least 1")
    if steps is not None and steps < 1:
        raise InputError(f"--steps is {steps}; ask for at least 1")
    if not 0 <= seed <= _MAX_SEED - num_images:
        raise InputError(f"--seed is {seed}; choose a whole number from 0 up, below 2**63")
