"""What Latent-CLIP sees of unguarded generations under a policy's schedule: the material of a calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from latent_guard.concepts.calibration_set import Generations, identity_of_images, joined
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import Policies, Policy
from latent_guard.terminal import track

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP

BATCH = 16
Labels = Callable[[Sequence[Any], Sequence[int]], Tensor]  # images, their numbers -> (B, K) bool


@dataclass(frozen=True)
class Asked:
    """What to generate: prompts with seeds, and how the outcome is labelled."""

    jobs: list[tuple[str, int]]
    categories: tuple[str, ...]
    labels: Labels
    in_words: str


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


def record_asked(
    guard: LatentGuard, pipe: Any, asked: Asked, policies: Policies, model: str, **arguments: Any
) -> Generations:
    """Record everything asked for, in batches and under a progress bar, and label it; ``model`` names the pipeline."""
    steps = arguments["num_inference_steps"]
    words = f"{model}, {steps} steps, looks of {policies.name}: {asked.in_words}"
    fingerprint, identity = guard.model.fingerprint(), identity_of_images(model, asked.jobs, arguments)
    parts: list[Generations] = []
    starts = range(0, len(asked.jobs), BATCH)
    for start in track(starts, "generating"):
        jobs = asked.jobs[start : start + BATCH]
        seen = record(guard, pipe, [p for p, _ in jobs], [s for _, s in jobs], policies, **arguments)
        shows = asked.labels(seen.images, range(start, start + len(jobs)))
        parts.append(
            Generations(seen.features, seen.noise_levels, shows, asked.categories, fingerprint, words, identity)
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
