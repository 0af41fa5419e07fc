"""The policies of a bank's categories, as masks and margins over scores.

Shapes: B images, K categories, in the bank's order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_guard.guidance.policy import Policies, Policy


@dataclass(frozen=True)
class Rules:
    """What each of K categories calls for; one category acts at a time."""

    policies: tuple[Policy, ...]

    @classmethod
    def of(cls, policies: Policies, categories: tuple[str, ...]) -> Rules:
        """The rules of a bank's categories; ``InputError`` if the policies name one that the bank does not have."""
        policies.require_known(categories)
        return cls(tuple(policies[category] for category in categories))

    def idle(self, highest: Tensor, lowest: Tensor) -> list[int]:
        """The categories that can never act, as no image scores over their triggers.

        ``highest`` (K,) are the scores that no image exceeds, ``lowest`` (K,) the bank's lowest thresholds.
        """
        triggers = lowest + torch.tensor([policy.trigger for policy in self.policies])
        return (triggers >= highest).nonzero().flatten().tolist()

    @property
    def only_flags(self) -> bool:
        """True if no category ever changes an image."""
        return all(policy.only_flags for policy in self.policies)

    def checks_at(self, noise_level: float) -> bool:
        """True if a noise level lies in some category's window."""
        return any(policy.checks_at(noise_level) for policy in self.policies)

    def thresholds(self, of_bank: Tensor, pushes: Tensor, *, final: bool, attempt: int | None = None) -> Tensor:
        """Thresholds (B, K): the bank's (K,) with each trigger, in the final check lower for each of an image's pushes.

        ``pushes`` is (B,); ``attempt`` counts from 0, and all after that are retries.
        """
        triggers = of_bank.new_tensor(
            [policy.trigger + (policy.retry_trigger if attempt else 0) for policy in self.policies]
        )
        return of_bank + triggers - self.safety_margins(pushes if final else torch.zeros_like(pushes)).to(of_bank)

    def safety_margins(self, pushes: Tensor) -> Tensor:
        """By how much thresholds (B, K) are lower at the end for images that were pushed so often (B,)."""
        return pushes[:, None] * torch.tensor([policy.safety_margin for policy in self.policies])

    def to_push(self, margins: Tensor, pushes: Tensor, noise_level: float) -> dict[int, int]:
        """The images to push, and for each the one category to push it away from: the steerable one furthest over.

        ``margins`` is (B, K), ``pushes`` (B,) counts an image's earlier ones. What cannot be read is not pushed.
        """
        over = self._steerable(margins, noise_level)
        return {image: k for image, k in over.items() if pushes[image] < self.policies[k].max_pushes}

    def exhausted(self, margins: Tensor, pushes: Tensor, noise_level: float) -> dict[int, list[int]]:
        """The images that are to be steered, and had all their pushes: in which categories, the furthest over first."""
        exhausted = {}
        for image, furthest in self._steerable(margins, noise_level).items():
            others = [k for k in range(len(self.policies)) if k != furthest and margins[image, k] > 0]
            exhausted[image] = [
                k
                for k in [furthest, *others]
                if self._steers(k, noise_level) and pushes[image] >= self.policies[k].max_pushes
            ]
        return exhausted

    def _steerable(self, margins: Tensor, noise_level: float) -> dict[int, int]:
        steers = [self._steers(k, noise_level) for k in range(len(self.policies))]
        return {
            image: k
            for image, k in enumerate(furthest_over(margins, steers))
            if margins[image].isfinite().all() and steers[k] and margins[image, k] > 0
        }

    def _steers(self, k: int, noise_level: float) -> bool:
        return self.policies[k].steer and self.policies[k].checks_at(noise_level)

    def by_policy(self, to_push: Mapping[int, int]) -> dict[Policy, list[int]]:
        """The images of ``to_push``, together with those that are pushed alike."""
        alike: dict[Policy, list[int]] = {}
        for image, k in to_push.items():
            alike.setdefault(self.policies[k], []).append(image)
        return alike

    def masking(self, attempt: int | None) -> list[bool]:
        """Which categories (K,) mask an image: those that block, and those that retry it after this attempt.

        ``attempt`` counts from 0; None: there are no retries.
        """
        return [policy.block or (attempt is not None and attempt < policy.retries) for policy in self.policies]

    def abort_margins(self, attempt: int | None) -> list[float]:
        """How far over its threshold each category (K,) lets a run be aborted; infinite where none does."""
        return [
            policy.abort_margin if masks and policy.abort_margin is not None else math.inf
            for policy, masks in zip(self.policies, self.masking(attempt), strict=True)
        ]


def furthest_over(margins: Tensor, among: list[bool]) -> list[int]:
    """The category (B,) furthest over its threshold, of those allowed (K,); what cannot be read counts as furthest."""
    barred = ~torch.tensor(among, device=margins.device)
    readable = torch.where(margins.isfinite(), margins, torch.inf)
    furthest: list[int] = readable.masked_fill(barred, -torch.inf).argmax(dim=1).tolist()
    return furthest
