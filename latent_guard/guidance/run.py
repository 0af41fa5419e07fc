"""The record of one pipeline call: what was seen and done, image by image, and the verdicts it amounts to."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from latent_guard.guidance.policy import Policy
from latent_guard.guidance.predictions import StepState
from latent_guard.guidance.verdict import Action, Cost, Decision, Verdict


@dataclass(frozen=True)
class Look:
    """The category scores (B, K), on the CPU, of a run's clean estimates at one step; level 0 is the final latent."""

    run: int
    step: int
    noise_level: float
    scores: Tensor


@dataclass
class Run:
    """Growing notes on one call of a pipeline with B images."""

    number: int
    first_image: int
    images: int
    next_index: int
    steps: int = 0
    looks: int = 0
    abandoned_at: int | None = None
    started: float = field(default_factory=time.perf_counter)
    actions: list[list[Action]] = field(init=False)
    last_look: tuple[Tensor, Tensor] = field(init=False)  # scores and thresholds, (B, K) each
    unreadable: Tensor = field(init=False)  # (B,) a score was not finite at some look
    lost_looks: Tensor = field(init=False)  # (B,) looks in a row above the abort margin
    insists: Tensor = field(init=False)  # (B,) over a threshold at a look after the last push that it may have
    own_estimates: tuple[Tensor, Tensor] | None = None  # rows pushed at this step, and what they were before

    def __post_init__(self) -> None:
        self.actions = [[] for _ in range(self.images)]
        self.unreadable = torch.zeros(self.images, dtype=torch.bool)
        self.lost_looks = torch.zeros(self.images, dtype=torch.long)
        self.insists = torch.zeros(self.images, dtype=torch.bool)

    def saw(self, scores: Tensor, thresholds: Tensor, policy: Policy) -> None:
        """Take note of a look: scores (B, K) against thresholds (B, K)."""
        self.looks += 1
        self.last_look = scores, thresholds
        self.unreadable |= ~torch.isfinite(scores).all(dim=1).cpu()
        if policy.abort_margin is not None:
            lost = ~((scores - thresholds).amax(dim=1) <= policy.abort_margin).cpu()
            self.lost_looks = torch.where(lost, self.lost_looks + 1, 0)

    def note(self, kind: str, images: Iterable[int], state: StepState, categories: tuple[str, ...]) -> None:
        """Record an action on some images, because of the category furthest over its threshold at the last look."""
        scores, thresholds = self.last_look
        worst = _worst(scores, thresholds)
        for image in images:
            k = worst[image]
            reason = categories[k], float(scores[image, k]), float(thresholds[image, k])
            self.actions[image].append(Action(kind, 0, state.index, state.noise_level, *reason))

    @property
    def pushes(self) -> Tensor:
        """How often each image (B,) was pushed."""
        return torch.tensor([sum(action.kind == "push" for action in actions) for actions in self.actions])

    def verdicts(self, categories: tuple[str, ...], unsafe: Tensor, withheld: Tensor) -> list[Verdict]:
        """One verdict an image, from the last look and the flags (B,)."""
        seconds = (time.perf_counter() - self.started) / self.images
        scores, thresholds = self.last_look
        worst = _worst(scores, thresholds)
        verdicts = []
        for image, actions in enumerate(self.actions):
            pushes = sum(action.kind == "push" for action in actions)
            category = actions[-1].category if actions else None
            verdicts.append(
                Verdict(
                    image=self.first_image + image,
                    decision=_decision(bool(unsafe[image]), bool(withheld[image]), pushes > 0),
                    category=categories[worst[image]] if unsafe[image] else category,
                    scores=dict(zip(categories, scores[image].tolist(), strict=True)),
                    thresholds=dict(zip(categories, thresholds[image].tolist(), strict=True)),
                    actions=tuple(actions),
                    cost=Cost(self.steps, self.looks, pushes, 0, seconds),
                )
            )
        return verdicts


def _worst(scores: Tensor, thresholds: Tensor) -> list[int]:
    excess: list[int] = (scores - thresholds).nan_to_num(nan=torch.inf).argmax(dim=1).tolist()
    return excess


def _decision(unsafe: bool, withheld: bool, pushed: bool) -> Decision:
    if withheld:
        return Decision.BLOCKED
    if unsafe:
        return Decision.FLAGGED
    return Decision.STEERED if pushed else Decision.ALLOWED
