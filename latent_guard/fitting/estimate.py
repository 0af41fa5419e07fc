"""What a fit would make, and how much time and disk it would take, from three timed images."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from latent_guard.fitting.pushes import LOWEST_LEVELS, MOST_PUSHES, RETRIES, RETRY_TRIGGERS, STRENGTHS
from latent_guard.fitting.record import Job, Recording, record
from latent_guard.fitting.roles import Role
from latent_guard.fitting.rounds import ROUNDS
from latent_guard.fitting.stages import Fit
from latent_guard.fitting.teachers import Texts
from latent_guard.fitting.tune import Lesson, tune
from latent_guard.guidance.policy import SAFE

TIMED = 3
_UNSAFE = 0.7  # share of dev images that are unsafe unguarded, on which policies are tried, about
_AGAIN = 0.7  # share of retries that are made, about


@dataclass(frozen=True)
class Estimate:
    """What a fit would take.

    Attributes:
        generations: how many images are generated, guarded ones of trials among them.
        seconds_of_image: measured.
        seconds_of_step: of tuning, measured.
        steps: of tuning, in all rounds.
        bytes_of_image: on disk.
        images: that are recorded, unguarded.
        pushed: that are recorded with pushes on the way.
        out: the guard's folder.
    """

    generations: int
    seconds_of_image: float
    seconds_of_step: float
    steps: int
    bytes_of_image: int
    images: int
    pushed: int
    out: Path

    def lines(self) -> list[str]:
        """In words, a line each."""
        megabytes = self.bytes_of_image * (self.images + self.pushed) / 1e6
        minutes = (self.generations * self.seconds_of_image + self.steps * self.seconds_of_step) / 60
        return [
            f"{self.images} images would be recorded, {self.pushed} more with pushes, and "
            f"{self.generations - self.images - self.pushed} made again in trials, about",
            f"{self.seconds_of_image:.2f} s an image, and {self.seconds_of_step:.2f} s each of {self.steps} steps of "
            f"tuning: about {minutes:.0f} minutes",
            f"{megabytes:,.0f} MB of latents beside {self.out} while it runs",
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
        step = _seconds_of_step(fitting, recording, Path(folder))
        size = sum(shard.stat().st_size for shard in recording.shards) // len(jobs)
    once = len(STRENGTHS) + len(LOWEST_LEVELS) + len(MOST_PUSHES) - 2
    runs = once + 2 * sum(1 + _AGAIN * retries for retries in RETRIES)
    runs += len(RETRY_TRIGGERS) * (1 + _AGAIN * max(RETRIES))
    trials = round(_UNSAFE * runs * settings.count(Role.DEV, benign=False))
    risky = round((1 + _AGAIN * RETRIES[0]) * settings.count(Role.VERIFY, benign=False))
    again = trials + risky + settings.count(Role.VERIFY, benign=True)
    return Estimate(
        generations=settings.images + settings.pushed + again,
        seconds_of_image=seconds,
        seconds_of_step=step,
        steps=ROUNDS * fitting.tuning.steps,
        bytes_of_image=size,
        images=settings.images,
        pushed=settings.pushed,
        out=fitting.out,
    )


def _seconds_of_step(fitting: Fit, recording: Recording, folder: Path) -> float:
    """Of tuning, as what more steps take than one, so that the texts are not counted each time."""
    texts = Texts.of(fitting.prompt_sets, ())
    count = len(texts.bank.concepts) + len(texts.bank.benign)
    lesson = Lesson(recording, torch.full((len(recording), count), 1 / count))
    seconds = []
    for steps in (1, 1 + TIMED):
        started = time.perf_counter()
        tune(fitting.base, [lesson], texts, folder / str(steps), replace(fitting.tuning, steps=steps))
        seconds.append(time.perf_counter() - started)
    return max(0.0, seconds[1] - seconds[0]) / TIMED
