"""A diffusers callback that only observes: for code that can pass a callback, but not wrap its call."""

from __future__ import annotations

from typing import Any

from diffusers.callbacks import PipelineCallback

from latent_guard.errors import GuardError, UnsupportedPipelineError
from latent_guard.guidance.final_check import final_verdicts
from latent_guard.guidance.fitted_for import MismatchWatch
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.handed_out import record
from latent_guard.guidance.policy import FLAG, Policies
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Verdict
from latent_guard.pipelines.latents import PipelineLatents


class LatentGuardCallback(PipelineCallback):  # type: ignore[misc]  # diffusers is not typed
    """``pipe(..., callback_on_step_end=LatentGuardCallback(guard))``, then ``callback.verdicts``.

    Weaker than ``guard.attach(pipe)``: it scores the final latents and says whether they are allowed or flagged. It
    cannot steer or mask, sees nothing before the end (a callback gets noisy latents and no clean estimate), and does
    not exist in PixArt's pipelines. Of several callbacks it must be the last: it ends a call that was interrupted by
    then, and is silent about one that is interrupted after it, which has no verdicts. Pipelines with packed latents
    (FLUX.1) are refused, as these do not tell their height from their width.

    The verdicts are also written to ``guard.audit`` where that is set, without the prompts, which it does not get.

    From inside the call it raises, or warns of, what ``attach`` does for an unknown pipeline, or for another pipeline,
    scheduler or number of steps than the guard was fitted for (a callback is not told the guidance); ``GuardError`` if
    the guard fails, the call was interrupted, or the verdicts cannot be written down.
    """

    tensor_inputs = ["latents"]  # noqa: RUF012  # diffusers hands it to code that wants a list

    def __init__(self, guard: LatentGuard) -> None:
        super().__init__()
        self.verdicts: list[Verdict] = []
        self._guard = guard

    def callback_fn(
        self, pipeline: Any, step_index: int, timestep: Any, callback_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Called by the pipeline after each step; gives back what it got, untouched."""
        if step_index == 0:
            guard = self._guard
            mismatch = MismatchWatch(guard.fitted_for, guard.policies.on_mismatch)
            mismatch.pipeline(pipeline)
            mismatch.schedule(pipeline)
            self._latents = PipelineLatents.of(pipeline, guard.model.config.latent_space, guard.canary)
            if self._latents.layout.family.has_tokens:
                raise UnsupportedPipelineError("a callback cannot read packed latents; use `with guard.attach(pipe)`")
            self._bank, self._scorer = guard.bank, Scorer(guard.model, guard.bank)  # a later one is for later calls
        if step_index < pipeline.num_timesteps - 1 and getattr(pipeline, "_interrupt", False):
            raise GuardError("the call was interrupted before its last step: its images were not judged, discard them")
        if step_index == pipeline.num_timesteps - 1:
            if step_index < len(pipeline.scheduler.timesteps) - 1 and getattr(pipeline, "denoising_end", None):
                raise GuardError("with denoising_end the last latents are noisy; observe the refiner's call instead")
            latents = self._latents.layout.unpack(callback_kwargs["latents"])
            raw = self._latents.space.to_raw(latents.float())
            verdicts = final_verdicts(self._scorer, raw, step=step_index, first_image=len(self.verdicts))
            record(verdicts, None, Policies.of(FLAG), self._bank, self._guard.audit, events=self._guard.events)
            self.verdicts += verdicts
        return callback_kwargs
