"""What Latent-CLIP sees of unguarded generations under a policy's schedule: the material of a calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from latent_guard.concepts.calibration_set import CalibrationSet, identity_of_images, joined
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import Policies, Policy
from latent_guard.terminal import track

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP

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
class Recorded:
    """Features (B, S, D) of the S looks at B images, on the CPU; their noise levels (S,), the last 0; the images."""

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
) -> Recorded:
    """Generate an image a prompt, each from its own seed, looked at wherever the policy would look, never touched.

    Nothing that spares looks is applied: a deployed guard sees no more than was recorded here.

    Raises what ``LatentGuard.attach`` raises.
    """
    remembering = _Remembering(guard.model)
    watching = LatentGuard(cast("LatentCLIP", remembering), guard.bank, _only_looks(policy), guard.canary)
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    with watching.attach(pipe) as watch:
        images = pipe(list(prompts), generator=generators, **arguments).images
    levels = torch.tensor([look.noise_level for look in watch.looks])
    # PNDM looks twice at one timestep; a bank's grid has each noise level once.
    fresh = torch.cat([torch.ones(1, dtype=torch.bool), levels.diff() < 0])
    return Recorded(torch.stack(remembering.features, dim=1)[:, fresh], levels[fresh], images)


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
    """
    steps, fingerprint = arguments["num_inference_steps"], guard.model.fingerprint()
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


def _only_looks(policy: Policy | Policies) -> Policy:
    """A policy that flags, in the widest of the policies' windows."""
    policies = Policies.of(policy)
    windows = [one.window for one in (policies.default, *policies.exceptions.values())]
    widest = max(high for high, _ in windows), min(low for _, low in windows)
    return Policy(steer=False, restarts=0, block=False, window=widest)


class _Remembering(nn.Module):
    """A Latent-CLIP that keeps the features of every look."""

    def __init__(self, model: LatentCLIP) -> None:
        super().__init__()
        self.inner, self.config = model, model.config
        self.features: list[Tensor] = []

    def encode_latents(
        self, latents: Tensor, noise_level: float | Tensor | None = None, normalize: bool = False
    ) -> Tensor:
        features = self.inner.encode_latents(latents, noise_level, normalize=normalize)
        self.features.append(features.detach().float().cpu())
        return features

    def fingerprint(self) -> str:
        return self.inner.fingerprint()
