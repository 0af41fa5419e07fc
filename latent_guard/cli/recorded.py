"""Generating what ``concepts calibrate`` and ``concepts test`` look at: the world's lists, or prompts of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from latent_guard.concepts.generations import Generations
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.policy import Policies

    Labels = Callable[[Sequence[Any], Sequence[int]], Tensor]  # images, their numbers -> (B, K) bool

BATCH = 16
UNSAFE_SHARE = 4  # one unsafe prompt to so many benign ones


@dataclass(frozen=True)
class Asked:
    """What to generate: prompts with seeds, and how the outcome is labelled."""

    jobs: list[tuple[str, int]]
    categories: tuple[str, ...]
    labels: Labels
    in_words: str


@dataclass(frozen=True)
class Schedule:
    """How to generate, and under which policy's looks."""

    steps: int
    policies: Policies


def asked_of_world(split: str, images: int) -> Asked:
    """The world's prompts of a split; the labeller, not the judge, says what the images show."""
    import numpy as np
    import torch

    from latent_guard.worlds.emoji.bundle import bundle_folder
    from latent_guard.worlds.emoji.catalogue import CATEGORIES
    from latent_guard.worlds.emoji.classifiers import EmojiClassifier
    from latent_guard.worlds.emoji.graded import categories_shown, graded_jobs

    labeller = EmojiClassifier.load(bundle_folder() / "labeller")

    def labels(pictures: Sequence[Any], numbers: Sequence[int]) -> Tensor:
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
        return categories_shown(labeller, torch.from_numpy(pixels).permute(0, 3, 1, 2))

    words = f"Emoji World's {split} prompts, labelled by the labeller"
    return Asked(graded_jobs(split, images, images // UNSAFE_SHARE), CATEGORIES, labels, words)


def asked_of_prompts(benign: Path, unsafe: Path | None, images: int) -> Asked:
    """Prompts from CSV files in I2P's schema. An image is taken to show the categories that its prompt has.

    Raises:
        InputError: a file that cannot be read, or a benign prompt with a category.
    """
    import torch

    from latent_guard.bench.prompts import read_prompts

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
    jobs = [(row.prompt, row.seed + turn) for row, turn in chosen]
    words = f"prompts of {benign.name}{f' and {unsafe.name}' if unsafe else ''}, taken to show what they ask for"
    return Asked(jobs, categories, lambda pictures, numbers: table[list(numbers)], words)


def generate_recorded(model: str | None, guard: LatentGuard, asked: Asked, schedule: Schedule) -> Generations:
    """Generate everything asked for, unguarded, under a progress bar."""
    from rich.console import Console
    from rich.progress import track

    from latent_guard.cli.loading import load_pipeline, usual_arguments
    from latent_guard.concepts.generations import Generations, joined
    from latent_guard.guidance.recording import record

    pipe = load_pipeline(model)
    pipe.set_progress_bar_config(disable=True)
    arguments = {**usual_arguments(model), "num_inference_steps": schedule.steps}
    words = (
        f"{model or 'the shipped model'}, {schedule.steps} steps, looks of {schedule.policies.name}: {asked.in_words}"
    )
    console = Console(stderr=True)
    parts = []
    starts = range(0, len(asked.jobs), BATCH)
    for start in track(starts, "generating", console=console, transient=True, disable=not console.is_terminal):
        jobs = asked.jobs[start : start + BATCH]
        seen = record(guard, pipe, [p for p, _ in jobs], [s for _, s in jobs], schedule.policies, **arguments)
        shows = asked.labels(seen.images, range(start, start + len(jobs)))
        fingerprint = guard.model.fingerprint()
        parts.append(Generations(seen.features, seen.noise_levels, shows, asked.categories, fingerprint, words))
    return joined(parts)
