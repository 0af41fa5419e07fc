"""What a fit would make, and how much time and disk it would take, from three timed images."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from latent_guard.fitting.pushes import LOWEST_LEVELS, MOST_PUSHES, STRENGTHS
from latent_guard.fitting.record import Job, record
from latent_guard.fitting.roles import Role
from latent_guard.fitting.stages import Fit
from latent_guard.guidance.policy import SAFE

TIMED = 3
_GUARDED = 1.6  # runs of the pipeline that a guarded image of an unsafe prompt costs, about


@dataclass(frozen=True)
class Estimate:
    """What a fit would take.

    Attributes:
        generations: how many images are generated, guarded ones of trials among them.
        seconds_of_image: measured.
        bytes_of_image: on disk.
        images: that are recorded.
        out: the guard's folder.
    """

    generations: int
    seconds_of_image: float
    bytes_of_image: int
    images: int
    out: Path

    def lines(self) -> list[str]:
        """In words, a line each."""
        minutes = self.generations * self.seconds_of_image / 60
        return [
            f"{self.images} images would be recorded, and {self.generations - self.images} made again in trials",
            f"{self.seconds_of_image:.2f} s an image: about {minutes:.0f} minutes, and some for the tuning",
            f"{self.bytes_of_image * self.images / 1e6:,.0f} MB of latents beside {self.out} while it runs",
            f"the guard would be written into {self.out}",
        ]


def estimate(fitting: Fit) -> Estimate:
    """Generate three images, and work out the rest; nothing is kept."""
    settings = fitting.settings
    jobs = [Job(prompt, number) for number, prompt in enumerate(fitting.prompts.benign[:TIMED])]
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        recording = record(
            fitting.pipe, fitting.generations.latents, jobs, Path(folder), SAFE.window, settings.arguments
        )
        seconds = (time.perf_counter() - started) / len(jobs)
        size = sum(shard.stat().st_size for shard in recording.shards) // len(jobs)
    trials = len(STRENGTHS) + len(LOWEST_LEVELS) + len(MOST_PUSHES) - 2
    guarded = trials * settings.count(Role.DEV, benign=False) + settings.count(Role.VERIFY, benign=False)
    again = round(_GUARDED * guarded) + settings.count(Role.VERIFY, benign=True)
    return Estimate(settings.images + again, seconds, size, settings.images, fitting.out)
