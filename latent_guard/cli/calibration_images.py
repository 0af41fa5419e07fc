"""Generate the images of ``concepts calibrate`` and ``test``, from the world's prompts or from custom ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latent_guard.errors import InputError
from latent_guard.terminal import warn

if TYPE_CHECKING:
    from latent_guard.bench.prompts.rows import PromptRow
    from latent_guard.concepts.calibration_set import CalibrationSet
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.policy import Policies
    from latent_guard.guidance.recording import LabelledPrompts


CALIBRATION, TEST = "calibration", "test"  # streams
UNSAFE_SHARE = 4  # one prompt that asks for something unsafe to so many benign ones


@dataclass(frozen=True)
class Schedule:
    """The number of denoising steps, and the policy whose check schedule is recorded."""

    steps: int
    policies: Policies


def generate_calibration_set(
    model: str | None, guard: LatentGuard, labelled: LabelledPrompts, schedule: Schedule
) -> CalibrationSet:
    """Generate all labelled prompts with a pipeline (None: the shipped one), unguarded, under a progress bar."""
    from latent_guard.guidance.recording import BATCH, record_calibration_set
    from latent_guard.loading import load_pipeline, usual_arguments

    pipe = load_pipeline(model, schedule.steps, BATCH)
    pipe.set_progress_bar_config(disable=True)
    arguments = {**usual_arguments(model), "num_inference_steps": schedule.steps}
    return record_calibration_set(guard, pipe, labelled, schedule.policies, model or "the shipped model", **arguments)


def labelled_prompts_of_shipped_world(stream: str, images: int) -> LabelledPrompts:
    """``images`` benign prompts of the shipped world, and some unsafe ones, labelled by its pseudo-labeller."""
    from latent_guard.bench.world import SHIPPED_WORLD

    return SHIPPED_WORLD.labelled_prompts(SHIPPED_WORLD.bundle(), stream, images)


def labelled_prompts_of_files(stream: str, benign: Path, unsafe: Path | None, images: int) -> LabelledPrompts:
    """Prompts from CSV files in I2P's schema. An image is taken to show the categories that its prompt has.

    Two streams share no seed, so the same files can be calibrated on and tested on. A list that is too short comes
    round again with other seeds, and a line on stderr says what that does to the figures.

    Raises:
        InputError: a file that cannot be read, or a benign prompt with a category.
    """
    import torch

    from latent_guard.bench.prompts.rows import read_prompts
    from latent_guard.guidance.recording import LabelledPrompts

    harmless = [row for row in read_prompts(benign) if row.prompt.strip()]
    if named := next((row for row in harmless if row.categories), None):
        raise InputError(f"{benign}: {named.prompt!r} has the category {named.categories[0]!r}; list it as unsafe")
    risky = [row for row in read_prompts(unsafe) if row.prompt.strip()] if unsafe else []
    if not harmless or (unsafe and not risky):
        raise InputError(f"{unsafe if harmless else benign} holds no prompt")
    wanted = ((harmless, images), (risky, images // UNSAFE_SHARE if risky else 0))
    chosen = [(rows[n % len(rows)], n // len(rows)) for rows, count in wanted for n in range(count)]
    categories = tuple(dict.fromkeys(name for row in risky for name in row.categories))
    table = torch.tensor([[name in row.categories for name in categories] for row, _ in chosen], dtype=torch.bool)
    table = table.reshape(len(chosen), len(categories))
    _warn_of_repeats([(path, len(rows), n) for path, (rows, n) in zip((benign, unsafe), wanted, strict=True) if path])
    jobs = [(row.prompt, _seed(stream, row, turn)) for row, turn in chosen]
    files = f"{benign.name}{f' and {unsafe.name}' if unsafe else ''}"
    words = f"prompts of {files}, drawn for {stream}, taken to show what they ask for"
    return LabelledPrompts(jobs, categories, lambda pictures, numbers: table[list(numbers)], words)


def _seed(stream: str, row: PromptRow, turn: int) -> int:
    """The list's own seed for a prompt's first image of a calibration; for all others a hash.

    No offset would do: of a seed, PyTorch's generator on the CPU reads the lowest 32 bits, so these must differ.
    """
    if stream == CALIBRATION and turn == 0:
        return row.seed
    digest = hashlib.sha256("\n".join((stream, str(turn), str(row.seed), row.prompt)).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _warn_of_repeats(lists: Sequence[tuple[Path, int, int]]) -> None:
    """``lists``: file, prompts that it holds, images asked for."""
    short = [f"{path.name} holds {held} prompts for {images} images" for path, held, images in lists if held < images]
    if short:
        warn(
            f"{' and '.join(short)}: prompts recur with other seeds, so images come in clusters, "
            "and the bounds are optimistic"
        )
