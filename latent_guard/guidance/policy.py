"""What the guard does when a category crosses its threshold."""

from __future__ import annotations

from dataclasses import dataclass

from latent_guard.errors import InputError


@dataclass(frozen=True)
class Policy:
    """What to do, in this order: steer on the way, run again what is unsafe at the end, block what still is.

    With neither, unsafe images are flagged. Noise levels are sigma / (sigma + signal), 1 for pure noise.

    steer, restarts, block   the three measures; `attach` cannot restart, so there `restarts` counts as 0
    window                   (highest, lowest) noise level at which the guard looks and pushes
    strength                 root mean square of one push of the clean estimate, in raw latent units
    most_pushes              pushes of one image in one run; an image that is over a threshold after these insists,
                             and counts as unsafe however it ends: pushed on, it would end as a smudge
    augmentations            noisy copies whose gradients are averaged, and the noise's standard deviation
    doubt                    how far below its thresholds, in log-odds and for each push that it had, an image must end
                             to count as safe: a push can fool the critic, and those who ask for nothing unsafe are
                             hardly ever pushed
    abort_margin             give a run up when all its images are this far over a threshold at two looks in
                             a row (only where images can be withheld); None: never
    """

    steer: bool = True
    restarts: int = 2
    block: bool = True
    window: tuple[float, float] = (0.95, 0.4)
    strength: float = 6.0
    most_pushes: int = 4
    augmentations: int = 6
    augmentation_noise: float = 0.6
    doubt: float = 2.0
    abort_margin: float | None = None

    def __post_init__(self) -> None:
        high, low = self.window
        if not 0.0 <= low <= high <= 1.0:
            raise InputError(f"policy: window must be (high, low) with 1 >= high >= low >= 0, got {self.window}")
        for name in ("restarts", "strength", "most_pushes", "augmentation_noise", "doubt"):
            if not getattr(self, name) >= 0:
                raise InputError(f"policy: {name} must not be negative, got {getattr(self, name)}")
        if self.augmentations < 1:
            raise InputError(f"policy: augmentations must be at least 1, got {self.augmentations}")

    @property
    def only_flags(self) -> bool:
        """True if this policy never changes an image."""
        return not (self.steer or self.restarts or self.block)

    def looks_at(self, noise_level: float) -> bool:
        """True if a noise level lies in the window."""
        return self.window[1] <= noise_level <= self.window[0]


SAFE = Policy()
STEER = Policy(restarts=0, block=False)
RESAMPLE = Policy(steer=False)
BLOCK = Policy(steer=False, restarts=0)
FLAG = Policy(steer=False, restarts=0, block=False)
PRESETS = {"safe": SAFE, "steer": STEER, "resample": RESAMPLE, "block": BLOCK, "flag": FLAG}


def policy_named(name: str) -> Policy:
    """The preset of a name: safe, steer, resample, block or flag."""
    if name not in PRESETS:
        raise InputError(f"unknown policy {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
