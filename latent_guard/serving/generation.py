"""A batch of jobs through the guard: what one thread does with the one pipeline of a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from latent_guard.guidance.guard import GuardedOutput, LatentGuard
from latent_guard.guidance.handed_out import record
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.pipelines.call import generators_from_seed
from latent_guard.serving.batch_shape import BatchShape
from latent_guard.serving.jobs import Drawn, Job, Shape
from latent_guard.serving.withheld import as_blocked, blurred, showing

if TYPE_CHECKING:
    from PIL.Image import Image

    from latent_guard.review.store import ReviewStore
    from latent_guard.serving.in_force import InForce


class GivenUpError(Exception):
    """Nobody waits for any image of the batch any longer."""


class Generation:
    """Draws jobs under a guard; of one thread at a time."""

    def __init__(
        self, pipe: Any, latent_clip: Any, arguments: Mapping[str, Any], review: ReviewStore | None = None
    ) -> None:
        """
        Args:
            pipe: the pipeline; its models are made to compute batches of one shape (``BatchShape``).
            latent_clip: the guard's.
            arguments: of each call, but for what a ``Shape`` names.
            review: keeps withheld images; None: nothing is left of them.
        """
        self.shape = BatchShape(pipe, latent_clip)
        self.review = review
        self._pipe, self._arguments = pipe, dict(arguments)
        self.drawing: Sequence[Job] = ()
        for denoiser in self.shape.denoisers:
            denoiser.register_forward_pre_hook(self._give_up_if_over)

    def generate(self, guard: LatentGuard, prompts: Sequence[str], seeds: Sequence[int], shape: Shape) -> GuardedOutput:
        """An image of each prompt, from a generator of its own."""
        generators = [generator for seed in seeds for generator in generators_from_seed(seed, 1)]
        return guard.generate(
            self._pipe, list(prompts), generator=generators, **{**self._arguments, **shape.arguments()}
        )

    def draw(self, jobs: Sequence[Job], in_force: InForce) -> list[Drawn]:
        """What came of each job; the verdicts are in the audit log by then.

        Raises:
            GivenUpError: all jobs were given up on the way.
            GuardError: the guard could not check the images, or its verdicts could not be written.
            Exception: whatever the pipeline raises.
        """
        prompts = [job.prompt for job in jobs for _ in range(job.images)]
        seeds = [job.seed + image for job in jobs for image in range(job.images)]
        self.drawing = jobs
        try:
            if self.review is None:
                output = self.generate(in_force.guard, prompts, seeds, jobs[0].shape)
                return _shared_out(jobs, _without_blocked(output), output.verdicts, {}, in_force)
            shown = self.generate(shown_by(in_force.guard), prompts, seeds, jobs[0].shape)
        finally:
            self.drawing = ()
        return self._kept(self.review, jobs, prompts, shown, in_force)

    def _kept(
        self, review: ReviewStore, jobs: Sequence[Job], prompts: Sequence[str], shown: GuardedOutput, in_force: InForce
    ) -> list[Drawn]:
        """What came of jobs whose withheld images were only flagged: these are kept, and blurred from here on."""
        guard, policies = in_force.guard, in_force.guard.policies
        verdicts = [as_blocked(verdict, policies) for verdict in shown.verdicts]
        record(verdicts, prompts, policies, guard.bank, guard.audit, policies.on_error, events=guard.events)
        images, kept = _without_blocked(shown), {}
        requests = [job.id for job in jobs for _ in range(job.images)]
        for number, (verdict, original) in enumerate(zip(verdicts, images, strict=True)):
            if verdict.decision is Decision.BLOCKED and original is not None:
                about = {"request": requests[number], "prompt": prompts[number]}
                kept[number] = review.keep(original, verdict, about)
                images[number] = blurred(original)
        return _shared_out(jobs, images, verdicts, kept, in_force)

    def _give_up_if_over(self, *_: Any) -> None:
        """Before each evaluation of the denoiser."""
        if self.drawing and all(job.over for job in self.drawing):
            raise GivenUpError


def shown_by(guard: LatentGuard) -> LatentGuard:
    """A guard that flags what the guard itself blocks, and records nothing."""
    return quiet(guard, showing(guard.policies))


def quiet(guard: LatentGuard, policies: Policies | None = None) -> LatentGuard:
    """The same guard without audit log and events, under policies of its own where they are given."""
    own = LatentGuard(guard.model, guard.bank, policies or guard.policies, guard.canary, None, guard.fitted_for)
    own.events = False
    return own


def _without_blocked(output: GuardedOutput) -> list[Image | None]:
    blocked = [verdict.decision is Decision.BLOCKED for verdict in output.verdicts]
    return [None if gone else image for image, gone in zip(output.images, blocked, strict=True)]


def _shared_out(
    jobs: Sequence[Job],
    images: Sequence[Image | None],
    verdicts: Sequence[Verdict],
    kept: Mapping[int, str],
    in_force: InForce,
) -> list[Drawn]:
    """The images of a batch, back to whose they are; each job counts its own from 0."""
    first, shared = 0, []
    for job in jobs:
        own = range(first, first + job.images)
        counted = tuple(replace(verdicts[number], image=number - first) for number in own)
        ids = {number - first: kept[number] for number in own if number in kept}
        shared.append(Drawn(tuple(images[number] for number in own), counted, in_force, ids))
        first += job.images
    return shared
