"""What the guard does when a category crosses its threshold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from latent_guard.bounds import Bounds
from latent_guard.errors import InputError
from latent_guard.guidance.check_schedule import EVERY_STEP, CheckSchedule
from latent_guard.guidance.fail_open import ON_ERROR, OnError
from latent_guard.guidance.verdict import Decision, Verdict

OnMismatch = Literal["warn", "refuse"]
ON_MISMATCH: tuple[OnMismatch, ...] = ("warn", "refuse")
# What a number of a policy can be: log-odds of up to 100, lengths of normalised latents, whose own is about 1.
BOUNDS = {
    "retries": Bounds(0, 100, whole=True),
    "strength": Bounds(0, 100),
    "max_pushes": Bounds(0, 1000, whole=True),
    "augmentations": Bounds(1, 100, whole=True),
    "augmentation_noise": Bounds(0, 100),
    "safety_margin": Bounds(0, 100),
    "abort_margin": Bounds(0, 100),
    "trigger": Bounds(-100, 100),
    "retry_trigger": Bounds(-100, 0),
    "budget": Bounds(0, 1000),
}


@dataclass(frozen=True)
class Policy:
    """What to do, in this order: steer on the way, retry what is unsafe at the end, block what still is.

    With none of them, unsafe images are flagged. Noise levels are sigma / (sigma + signal), 1 for pure noise.

    Attributes:
        steer: push the clean estimate away from what is unsafe.
        retries: how often an unsafe image is made again, at most; ``attach`` cannot retry, so there it counts as 0.
        block: mask what is unsafe at the end.
        window: (highest, lowest) noise level at which the guard checks and pushes.
        strength: root mean square of one push of the clean estimate, in normalised latents: the pipeline's own, of
            unit variance in every space.
        max_pushes: pushes of one image in one run. An image that is over a threshold after these counts as unsafe
            however it ends: pushed on, it would end as an artefact.
        augmentations: noisy copies whose gradients are averaged.
        augmentation_noise: the noise's standard deviation, in normalised latents.
        safety_margin: how far below its thresholds, in log-odds and for each push that it had, an image must end to
            count as safe. A push can lower the score and leave the object, and prompts that ask for nothing unsafe are
            hardly ever pushed.
        abort_margin: abort a run when all its images are this far over a threshold at two checks in a row (only where
            images can be masked); None: never.
        trigger: log-odds added to the bank's thresholds; below 0 is stricter than the bank.
        retry_trigger: log-odds added to that for an image that is made again: 0, or below it for a stricter look, as a
            prompt whose image was unsafe is likely to give another.
        budget: model evaluations that retries may cost, in multiples of an unguarded image's. A retry that could cost
            more is not begun, and its image stays masked; None: no limit.
    """

    steer: bool = True
    retries: int = 3
    block: bool = True
    window: tuple[float, float] = (0.95, 0.4)
    strength: float = 6.0
    max_pushes: int = 4
    augmentations: int = 6
    augmentation_noise: float = 0.6
    safety_margin: float = 2.5
    abort_margin: float | None = None
    trigger: float = 0.0
    retry_trigger: float = 0.0
    budget: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.window, tuple) or len(self.window) != 2:
            raise InputError(f"policy: window must be two noise levels, (high, low), got {self.window!r}")
        for level in self.window:
            Bounds(0, 1).check("policy: window", level)
        high, low = self.window
        if not low <= high:
            raise InputError(f"policy: window must be (high, low) with 1 >= high >= low >= 0, got {self.window}")
        for name in ("steer", "block"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"policy: {name} must be true or false, not {getattr(self, name)!r}")
        for name, bounds in BOUNDS.items():
            value = getattr(self, name)
            if value is not None or name not in ("abort_margin", "budget"):
                bounds.check(f"policy: {name}", value)

    @property
    def only_flags(self) -> bool:
        """True if this policy never changes an image."""
        return not (self.steer or self.retries or self.block)

    @property
    def pushes(self) -> bool:
        """True if it pushes on the way; one that steers with no pushes counts what any look finds as unsafe."""
        return self.steer and self.max_pushes > 0

    def checks_at(self, noise_level: float) -> bool:
        """True if a noise level lies in the window."""
        return self.window[1] <= noise_level <= self.window[0]

    def affords_retry(self, spent: int, one_run: int, times: int = 1) -> bool:
        """True if a retry stays within the budget of an image that cost ``spent`` model evaluations.

        It may take ``times`` the ``one_run`` evaluations that an unguarded image takes.
        """
        return self.budget is None or spent + times * one_run <= one_run * (1 + self.budget)


@dataclass(frozen=True)
class Policies:
    """The policy of every category, under one name: what a policy file holds.

    Attributes:
        name: a preset's, a file's, or "custom".
        default: for every category that ``exceptions`` does not name.
        exceptions: policies of single categories.
        check_schedule: which steps are checked; one check reads all categories, so all share it.
        prompt_trigger: also score the prompt's text before the first step, and flag it above this, in log-odds; None:
            do not.
        on_mismatch: what becomes of a generation by another pipeline, scheduler, number of steps or guidance scale than
            the guard was fitted for: a warning, or an error.
        on_error: what becomes of a generation in which the guard itself fails, unless the call says otherwise: it ends,
            or with "open" it goes on unguarded.
    """

    name: str
    default: Policy
    exceptions: Mapping[str, Policy] = field(default_factory=dict)
    check_schedule: CheckSchedule = EVERY_STEP
    prompt_trigger: float | None = None
    on_mismatch: OnMismatch = "warn"
    on_error: OnError = "close"

    def __post_init__(self) -> None:
        if self.prompt_trigger is not None:
            BOUNDS["trigger"].check(f"policy {self.name}: prompt_trigger", self.prompt_trigger)
        if self.on_mismatch not in ON_MISMATCH:
            raise InputError(f"policy {self.name}: on_mismatch must be warn or refuse, not {self.on_mismatch!r}")
        if self.on_error not in ON_ERROR:
            raise InputError(f"policy {self.name}: on_error must be close or open, not {self.on_error!r}")

    @classmethod
    def of(cls, policy: Policy | Policies) -> Policies:
        """One policy for all categories, under its preset's name or else as "custom"."""
        if isinstance(policy, Policies):
            return policy
        preset = next((preset for preset in PRESETS.values() if preset == cls(preset.name, policy)), None)
        return preset or cls("custom", policy)

    def __getitem__(self, category: str) -> Policy:
        return self.exceptions.get(category, self.default)

    @property
    def pushes(self) -> bool:
        """True if any category's policy pushes on the way."""
        return any(policy.pushes for policy in (self.default, *self.exceptions.values()))

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name what the policies do, whatever they are called."""
        content = {
            "default": _content_of(self.default),
            "exceptions": {category: _content_of(policy) for category, policy in self.exceptions.items()},
            "looking": {"every": self.check_schedule.every, "clear_margin": self.check_schedule.clear_margin},
            "prompt_trigger": self.prompt_trigger,
            **({"on_mismatch": self.on_mismatch} if self.on_mismatch != "warn" else {}),
            **({"on_error": self.on_error} if self.on_error != "close" else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def allows_retry(self, verdict: Verdict, one_run: int, times: int = 1) -> bool:
        """True if a blocked image gets another attempt; the numbers are those of ``Policy.affords_retry``."""
        if verdict.decision is not Decision.BLOCKED or verdict.category is None:
            return False
        policy = self[verdict.category]
        spent = verdict.cost
        return spent.retries < policy.retries and policy.affords_retry(spent.model_evaluations, one_run, times)

    def require_known(self, categories: tuple[str, ...]) -> None:
        """Raise ``InputError`` for a category that a bank does not have: what was meant would go unwatched."""
        unknown = next((name for name in self.exceptions if name not in categories), None)
        if unknown is not None:
            known = ", ".join(categories)
            raise InputError(f"policy {self.name}: the bank has no category {unknown!r}; name one of {known}")


def _content_of(policy: Policy) -> dict[str, object]:
    """A policy under keys that stay, whatever its fields are called: what digests are made of."""
    return {
        "steer": policy.steer,
        "restarts": policy.retries,
        "block": policy.block,
        "window": policy.window,
        "strength": policy.strength,
        "most_pushes": policy.max_pushes,
        "augmentations": policy.augmentations,
        "augmentation_noise": policy.augmentation_noise,
        "doubt": policy.safety_margin,
        "abort_margin": policy.abort_margin,
        "trigger": policy.trigger,
        "budget": policy.budget,
        **({"retry_trigger": policy.retry_trigger} if policy.retry_trigger else {}),
    }


SAFE = Policy()
STEER = Policy(retries=0, block=False)
RESAMPLE = Policy(steer=False)
BLOCK = Policy(steer=False, retries=0, abort_margin=1.5)
FLAG = Policy(steer=False, retries=0, block=False)
PRESETS = {
    name: Policies(name, policy)
    for name, policy in {"safe": SAFE, "steer": STEER, "resample": RESAMPLE, "block": BLOCK, "flag": FLAG}.items()
}
