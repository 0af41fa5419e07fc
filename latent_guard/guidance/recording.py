"""Recording of unguarded images as a guard would check them: calibration sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latent_guard.concepts.calibration_set import CalibrationSet, identity_of_images, joined
from latent_guard.errors import GuardError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import Policies, Policy
from latent_guard.guidance.scoring import Scorer
from latent_guard.pipelines.images import images_of
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.step import clean_estimates
from latent_guard.terminal import track

BATCH = 16
Labels = Callable[[Sequence[Any], Sequence[int]], Tensor]  # images, their numbers -> (B, K) bool


@dataclass(frozen=True)
class LabelledPrompts:
    """What to generate, and how the images are labelled.

    Attributes:
        jobs: prompts with their seeds.
        categories: the K categories that images are labelled with.
        labels: what says which of them each image shows.
        description: of the prompts and of who labels, for people.
    """

    jobs: list[tuple[str, int]]
    categories: tuple[str, ...]
    labels: Labels
    description: str


@dataclass(frozen=True)
class RecordedChecks:
    """Features (B, S, D) of the S checks at B images, on the CPU; their noise levels (S,), the last 0; the images."""

    features: Tensor
    noise_levels: Tensor
    images: Any


def record(
    guard: LatentGuard,
    pipe: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    policy: Policy | Policies,
    **arguments: Any,
) -> RecordedChecks:
    """Generate an image a prompt, each from its own seed, checked wherever the policy would check it, never touched.

    Nothing that spares checks is applied: a deployed guard sees no more than was recorded here.

    Raises:
        UnsupportedPipelineError: an unknown pipeline, scheduler or prediction type.
        LatentSpaceMismatchError: another VAE.
        GuardError: the call took no step, or the guard's model did not give one embedding of length one for an image.
    """
    space = guard.model.config.latent_space
    window = _widest_window(policy)
    latents = PipelineLatents.of(pipe, space, guard.canary)
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    scorer = Scorer(guard.model, guard.bank)
    # Embedded at once: the raw latents of a whole call need not be kept.
    with clean_estimates(
        latents, lambda level: window[1] <= level <= window[0], made_into=scorer.embeddings
    ) as checked:
        images = images_of(pipe(list(prompts), generator=generators, **arguments))
    if not checked:
        raise GuardError("the pipeline's call took no step; nothing was recorded")
    levels = torch.tensor([level for level, _ in checked])
    # PNDM is checked twice at one timestep; a bank's grid has each noise level once.
    fresh = torch.cat([torch.ones(1, dtype=torch.bool), levels.diff() < 0])
    features = torch.stack([embedded for _, embedded in checked], dim=1)
    return RecordedChecks(features[:, fresh], levels[fresh], images)


def record_calibration_set(
    guard: LatentGuard, pipe: Any, labelled: LabelledPrompts, policies: Policies, model: str, **arguments: Any
) -> CalibrationSet:
    """Generate an image of every labelled prompt, in batches and under a progress bar, and record what the guard sees.

    Args:
        guard: whose Latent-CLIP embeds the latents.
        pipe: the pipeline, unguarded.
        labelled: the prompts and what labels their images.
        policies: whose check schedule is followed.
        model: what the calibration set calls the pipeline.
        arguments: of the pipeline's call; ``num_inference_steps`` is one of them.

    Raises:
        InputError: an argument that cannot be recorded, see ``identity_of_images``.
    """
    steps, fingerprint = arguments["num_inference_steps"], guard.model.fingerprint()
    # The text itself is an identity: the shipped bank, which has no other, knows its calibration images by this
    # sentence, so a changed word would let it be tested on them.
    made_by = f"{model}, {steps} steps, looks of {policies.name}: {labelled.description}"
    identity = identity_of_images(model, labelled.jobs, arguments)
    parts: list[CalibrationSet] = []
    for start in track(range(0, len(labelled.jobs), BATCH), "generating"):
        prompts, seeds = zip(*labelled.jobs[start : start + BATCH], strict=True)
        recorded = record(guard, pipe, prompts, seeds, policies, **arguments)
        shows = labelled.labels(recorded.images, range(start, start + len(prompts)))
        parts.append(
            CalibrationSet(
                recorded.features, recorded.noise_levels, shows, labelled.categories, fingerprint, made_by, identity
            )
        )
    return joined(parts)


def _widest_window(policy: Policy | Policies) -> tuple[float, float]:
    """The noise levels, from high to low, that any of the policies checks at."""
    policies = Policies.of(policy)
    windows = [one.window for one in (policies.default, *policies.exceptions.values())]
    return max(high for high, _ in windows), min(low for _, low in windows)
