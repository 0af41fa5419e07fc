"""One request on its way: what it asks for, until when, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from latent_guard.guidance.verdict import Verdict
    from latent_guard.serving.in_force import InForce


@dataclass(frozen=True)
class Shape:
    """What requests must have in common to be drawn together; ``size`` (width, height), None for the model's own."""

    steps: int
    size: tuple[int, int] | None = None

    def arguments(self) -> dict[str, Any]:
        """The pipeline's arguments."""
        sides = {} if self.size is None else {"width": self.size[0], "height": self.size[1]}
        return {"num_inference_steps": self.steps, **sides}


@dataclass(frozen=True)
class Drawn:
    """What came of a job: its images, a verdict on each, and what was in force.

    Attributes:
        images: one each; None for one that is withheld.
        verdicts: in the order of the images, which they count from 0.
        by: guard and posture.
        kept: ids under which withheld images are kept for review, by image.
    """

    images: tuple[Image | None, ...]
    verdicts: tuple[Verdict, ...]
    by: InForce
    kept: Mapping[int, str] = field(default_factory=dict)

    @property
    def withheld(self) -> list[int]:
        """The images that the guard blocked."""
        return [verdict.image for verdict in self.verdicts if verdict.decision.value == "blocked"]


@dataclass(eq=False)
class Job:
    """A request for ``images`` images of one prompt, the first from ``seed``, each further one from a seed more."""

    id: str
    prompt: str
    images: int
    seed: int
    shape: Shape
    expires: float  # on the clock of ``time.monotonic``
    user: str = ""
    gone: bool = False  # nobody waits for it any longer
    future: Future[Drawn] = field(default_factory=Future)

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline, 0 once it has passed."""
        return max(0.0, self.expires - time.monotonic())

    @property
    def over(self) -> bool:
        """True if drawing it serves nobody."""
        return self.gone or time.monotonic() >= self.expires
