"""What a guard is fitted to, and how: the settings of a fit, which its working folder holds it to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from latent_guard.bounds import MAX_IMAGES, require_number, require_whole
from latent_guard.building import build
from latent_guard.concepts.conformal import min_images
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json
from latent_guard.fitting.roles import Role

SETTINGS = "settings.json"
SHARES = {Role.TUNE: 0.50, Role.CALIBRATE: 0.34, Role.DEV: 0.07, Role.VERIFY: 0.09}  # of all images
PUSHED = 0.20  # as a share of all images, and beside them: generations that an early guard pushes
BENIGN = {Role.TUNE: 0.5, Role.CALIBRATE: 0.85, Role.DEV: 0.0, Role.VERIFY: 0.5}  # of a role's images
_HELD_OUT = 0.5  # of the calibration images, see ``concepts.calibrate``
_SAFETY = 1.25  # half of the benign ones need not be in the half that is held out


@dataclass(frozen=True)
class FitSettings:
    """The settings of a fit.

    Attributes:
        model: the pipeline as the user calls it: a folder, hub id or short name.
        arguments: of the pipeline's call: ``num_inference_steps``, ``guidance_scale``, ...
        images: unguarded generations in all; others, that are pushed on the way, come on top.
        rate: largest share of benign images that may be touched.
        concepts: sources of prompt sets, as ``concepts build`` takes them.
        latent_clip, teacher: names of the Latent-CLIP to start from and of a CLIP on pixels, None for the default.
        benign, unsafe: the user's own lists of prompts.
        seed: of prompts' roles, images and tuning.
    """

    model: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    images: int = 1000
    rate: float = 0.01
    concepts: tuple[str, ...] = ("i2p",)
    latent_clip: str | None = None
    teacher: str | None = None
    benign: str | None = None
    unsafe: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole("--images", self.images, 1, MAX_IMAGES)
        require_number("--rate", self.rate, 0, 0.5, exclusive=True)
        calibrated = SHARES[Role.CALIBRATE] * BENIGN[Role.CALIBRATE] * _HELD_OUT
        least = -int(-min_images(self.rate) * _SAFETY // calibrated)
        if self.images < least:
            raise InputError(
                f"{self.images} images are too few to promise that at most {self.rate:.1%} of benign ones are touched; "
                f"it takes at least {least}, or a higher rate"
            )

    def count(self, role: Role, *, benign: bool) -> int:
        """How many images of a kind have a role; at least one."""
        share = BENIGN[role] if benign else 1 - BENIGN[role]
        return max(1, round(SHARES[role] * share * self.images)) if share else 0

    @property
    def pushed(self) -> int:
        """How many generations an early guard pushes."""
        return max(1, round(PUSHED * self.images))

    def claim(self, work: Path, *, other_rate: bool = False) -> None:
        """Take a working folder for this fit, or go on with what it holds.

        Args:
            work: the folder.
            other_rate: whether it may be that of a fit with another rate, which this one then replaces.

        Raises:
            InputError: it is that of a fit with other settings.
        """
        path = work / SETTINGS
        own = asdict(self)
        found = own
        if path.exists():
            found = asdict(build(FitSettings, read_json(path, "the settings of the fit"), str(path)))
        if not path.exists() or (other_rate and found == {**own, "rate": found["rate"]}):
            write_atomic(path, (json.dumps(own, indent=1, ensure_ascii=False) + "\n").encode())
            return
        if other := [name for name, value in found.items() if own[name] != value]:
            raise InputError(
                f"{work} holds an unfinished fit with another {other[0]}; "
                "run it with the same settings, give another --out, or remove that folder"
            )
