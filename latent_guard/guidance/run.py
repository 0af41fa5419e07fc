"""The record of one pipeline call: what was seen and done, image by image."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from latent_guard.errors import GuardError
from latent_guard.guidance.check_schedule import CheckSchedule, CheckState
from latent_guard.guidance.frames import Seen
from latent_guard.guidance.scoring import over
from latent_guard.guidance.verdict import Action, ActionKind, Reason, Verdict


@dataclass(frozen=True)
class Check:
    """What a check saw of a run's images, on the CPU; level 0 is the final latent.

    ``scores``, ``thresholds``, ``nearest`` (a row of the bank's concepts) and, of videos, ``frames`` are (B, K); images
    that this check left out have NaN scores.
    """

    run: int
    step: int
    noise_level: float
    scores: Tensor
    thresholds: Tensor
    nearest: Tensor
    frames: Tensor | None = None

    @classmethod
    def at(cls, run: int, step: int, noise_level: float, images: Sequence[int], seen: Seen, limits: Tensor) -> Check:
        """A check of some of a run's images: what was seen of these, against thresholds (B, K).

        Raises:
            GuardError: as many scores as there are images and categories were not given, or a threshold is not finite:
                nothing could be told from them.
        """
        wanted = (len(images), limits.shape[1])
        for what in (seen.scores, seen.nearest):
            if tuple(what.shape) != wanted:
                raise GuardError(f"the guard's model gave scores of shape {tuple(what.shape)} where {wanted} is needed")
        if not limits.isfinite().all():
            raise GuardError("a threshold is not a finite number; build the bank again, or correct the policy")
        scores = torch.full_like(limits, torch.nan)
        nearest = torch.zeros_like(limits, dtype=torch.long)
        rows = list(images)
        scores[rows], nearest[rows] = seen.scores.to(limits), seen.nearest
        frames = None
        if seen.frames is not None:
            frames = torch.zeros_like(nearest)
            frames[rows] = seen.frames
        return cls(run, step, noise_level, scores, limits, nearest, frames)

    @property
    def margins(self) -> Tensor:
        """How far each category (B, K) is over its threshold; NaN where a score cannot be read."""
        return self.scores - self.thresholds

    def over(self) -> Tensor:
        """Which categories (B, K) are not clearly under their threshold."""
        return over(self.scores, self.thresholds)


@dataclass(frozen=True)
class Names:
    """What the columns of a score and the rows of a bank are called."""

    categories: tuple[str, ...]
    concepts: tuple[str, ...]

    def reason(self, check: Check, image: int, k: int) -> Reason:
        """What category number ``k`` of an image looked like."""
        score = float(check.scores[image, k])
        threshold = float(check.thresholds[image, k])
        concept = self.concepts[int(check.nearest[image, k])]
        frame = None if check.frames is None else int(check.frames[image, k])
        return Reason(self.categories[k], concept, score, threshold, check.step, check.noise_level, frame)


@dataclass
class Run:
    """Growing notes on one call of a pipeline with B images and at most ``planned`` steps."""

    number: int
    first_image: int
    images: int
    next_index: int
    planned: int
    names: Names
    steps: int = 0
    aborted_at: int | None = None
    started: float = field(default_factory=time.perf_counter)
    actions: list[list[Action]] = field(init=False)
    check_states: list[CheckState] = field(init=False)
    checks: list[int] = field(init=False)
    last_check: Check = field(init=False)
    unreadable: dict[int, int] = field(default_factory=dict)  # image -> category of the first score that was not finite
    exhausted: dict[int, list[int]] = field(default_factory=dict)  # image -> categories over after all its pushes
    finals: Tensor | None = None  # raw (B, C, H, W), finite, of a run that had one step only
    verdicts: list[Verdict] = field(default_factory=list)  # by its last step

    def __post_init__(self) -> None:
        self.actions = [[] for _ in range(self.images)]
        self.check_states = [CheckState()] * self.images
        self.checks = [0] * self.images

    def due(self, step: int) -> list[int]:
        """The images to check before a step."""
        return [image for image, state in enumerate(self.check_states) if state.next_step <= step]

    def record(
        self, check: Check, images: Sequence[int], abort_margins: Sequence[float], schedule: CheckSchedule
    ) -> None:
        """Take note of a check of some images; ``abort_margins`` are (K,)."""
        self.last_check = check
        margins = check.margins.tolist()
        for image in images:
            self.checks[image] += 1
            state = self.check_states[image]
            self.check_states[image] = state.after_check(check.step, margins[image], abort_margins, schedule)
        broken = (~torch.isfinite(check.scores)).int()
        new = {i: int(broken[i].argmax()) for i in images if i not in self.unreadable and broken[i].any()}
        self.unreadable |= new
        self.note(ActionKind.UNREADABLE, new)

    @property
    def may_abort(self) -> bool:
        """True if every image of the run is so far over a threshold that it may be aborted."""
        return all(state.may_abort for state in self.check_states)

    def note(self, kind: ActionKind, categories: Mapping[int, int]) -> None:
        """Record an action on some images, each because of a category at the last check."""
        for image, k in categories.items():
            why = self.names.reason(self.last_check, image, k)
            where = (why.step, why.noise_level, why.category)
            self.actions[image].append(Action(kind, 0, *where, why.score, why.threshold, why.concept, why.frame))

    def note_exhausted(self, categories: Mapping[int, Sequence[int]]) -> None:
        """Record in which categories images are over a threshold although they had all their pushes, each once."""
        for image, those in categories.items():
            known = self.exhausted.setdefault(image, [])
            for k in those:
                if k not in known:
                    known.append(k)
                    self.note(ActionKind.EXHAUSTED, {image: k})

    @property
    def last_pushed(self) -> dict[int, int]:
        """The category that each image which was pushed was last pushed away from."""
        last: dict[int, int] = {}
        for image, actions in enumerate(self.actions):
            for action in actions:
                if action.kind is ActionKind.PUSH:
                    last[image] = self.names.categories.index(action.category)
        return last

    @property
    def pushes(self) -> Tensor:
        """How often each image (B,) was pushed."""
        return torch.tensor([sum(action.kind is ActionKind.PUSH for action in actions) for actions in self.actions])


@dataclass(frozen=True, eq=False)
class Attempt:
    """One guarded call of the pipeline, for whoever retries it.

    Attributes:
        images: the pipeline's, in its own format.
        verdicts: one an image, counted from 0.
        planned: how many steps the call had, were it not aborted.
        finals: raw final latents (B, C, H, W), where that is one.
    """

    images: Any
    verdicts: list[Verdict]
    planned: int
    finals: Tensor | None
