"""The guard at work inside a pipeline: check, push, and judge the final latents, all within ``scheduler.step``."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from latent_guard.guidance.fail_open import OnError, RefusalError, guarded
from latent_guard.guidance.gate import Gate
from latent_guard.guidance.judged import Call
from latent_guard.guidance.looking import Looking
from latent_guard.guidance.outcome import Outcome, blocked, of_sections, unchecked, worse
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.run import Attempt, Check, Run
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.guidance.verdict import Gate as Where
from latent_guard.pipelines.images import images_of
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.resting import resting
from latent_guard.pipelines.step import DenoisingStep

OnBlock = Literal["neutral", "raise"]
FirstStep = Callable[[DenoisingStep], None]  # what to do to a call's first step, instead of a check
OnVerdicts = Callable[[list[Verdict]], None]  # told of new verdicts before their images are handed out


class Watch:
    """What happened to the images of the pipeline calls inside one ``with guard.attach(pipe) as watch`` block.

    ``verdicts`` has one entry an image, ``checks`` one a check, over all calls. Nobody sees a masked image's final
    latent. A callback on an earlier step sees that step's latents, which are hardly noisy near the end: what it decodes
    with the pipeline's own VAE is judged by itself, and what it shows in another way is not.
    """

    def __init__(
        self,
        pipe: Any,
        scorer: Scorer,
        latents: PipelineLatents,
        policies: Policies,
        on_block: OnBlock,
        on_error: OnError,
        on_verdicts: OnVerdicts | None = None,
        watched: Where = "both",
    ) -> None:
        """Watch a pipeline, not yet attached; with "steps", what it decodes is not compared with what was judged."""
        self.verdicts: list[Verdict] = []
        self.pipe = pipe
        self.latents = latents
        self.watched = watched
        vae = pipe.vae if watched == "both" else None
        self.gate = Gate(vae, latents, self._judged_again, self._judged_alone)
        self.run: Run | None = None  # whose steps are being made
        self.scorer = scorer
        self._on_block = on_block
        self._on_error = on_error
        self._on_verdicts = on_verdicts
        self._looking = Looking(scorer, policies)
        self._first_step: FirstStep | None = None
        self._latest: Run | None = None  # that began, of the present attempt
        self._rest = ExitStack()  # of the denoisers of an aborted call
        self._runs = 0
        self._told = 0  # verdicts that `on_verdicts` knows of

    @property
    def checks(self) -> list[Check]:
        """What the guard saw."""
        return self._looking.checks

    def attempt(self, number: int, arguments: Mapping[str, Any], first_step: FirstStep | None = None) -> Attempt:
        """Call the pipeline, inside the guarded block, as attempt number 0, 1, ... of the policies' retries."""
        self._looking.attempt = number
        self._first_step = first_step
        self._latest = None
        before = len(self.verdicts)
        started = time.perf_counter()
        try:
            images = images_of(self.pipe(**arguments))
        finally:
            self._first_step = None
        new = self.verdicts[before:]
        seconds = (time.perf_counter() - started) / len(new)
        verdicts = [replace(v, image=image, cost=replace(v.cost, seconds=seconds)) for image, v in enumerate(new)]
        planned, finals = (0, None) if self._latest is None else (self._latest.planned, self._latest.finals)
        return Attempt(images, verdicts, planned, finals)

    def end_call(self) -> None:
        """The pipeline's call is over, whether it hands out images or ends with an error."""
        self.gate.end()
        self.run = None
        self._rest.close()
        self._tell()

    def step(self, scheduler: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Stands around ``scheduler.step``."""
        call = self.gate.of_this_thread()
        try:
            step = None
            run = None
            if call is None or not call.bypassed:
                with self._guarded(call, self.latents.layout.images(arguments.arguments["sample"])):
                    step = DenoisingStep(self.latents, scheduler, arguments, in_pipeline=call is not None)
                    run = self._before(call, step)
            output = original(*arguments.args, **arguments.kwargs)
            if step is not None and run is not None:
                with self._guarded(call, run.images):
                    return self._after(call, step, run, output)
            return output
        except BaseException:
            self.run = None
            raise

    @contextmanager
    def _guarded(self, call: Call | None, images: int) -> Iterator[None]:
        """The guard's own work on so many images.

        Where a loop of somebody's own steps the scheduler, nobody knows which steps belong together, so a failure
        always ends it.
        """
        bypassed = "the images of this call go on unguarded"
        failing = guarded() if call is None else guarded(self._on_error, bypassed, partial(self._bypass, call, images))
        with failing, self.gate.own_work():
            yield

    def _bypass(self, call: Call, images: int) -> None:
        """Have a call's images go on unguarded, but for those that are masked already."""
        first = len(self.verdicts) if call.run is None else call.run.first_image
        earlier = self.verdicts[first:]
        masked = [False] * images if call.judged is None else call.judged.masked.tolist()
        self.verdicts[first:] = [
            earlier[n] if masked[n] else verdict for n, verdict in enumerate(unchecked(first, len(masked)))
        ]
        self.run = None
        call.bypassed = True

    def _before(self, call: Call | None, step: DenoisingStep) -> Run:
        """Before a step is made: check the clean estimate, and change it for images that are to be steered."""
        run = self._run_at(call, step)
        if self._first_step is not None:
            self._first_step(step)
            self._first_step = None
        elif self._looking.is_due(run, step):
            self._check_and_push(run, step)
        return run

    def _run_at(self, call: Call | None, step: DenoisingStep) -> Run:
        """The run that a step belongs to, a new one if it is the first."""
        goes_on = self.run is not None and not hasattr(self.pipe, "_interrupt")  # with neutral latents
        section = self.run is None and call is not None and call.begin_section(self.latents.layout.family)
        if call is not None and call.judged is not None and not goes_on:
            what = "aborted" if self.run is not None else "judged"
            raise RefusalError(f"the pipeline made another step after its images were {what}; no image was handed out")
        of_loop = call is None and self.run is not None and self.run.aborted_at is not None
        if self.run is None or (of_loop and step.index != self.run.next_index):
            first = call.run.first_image if section and call and call.run else len(self.verdicts)
            self.run = self._latest = Run(
                self._runs, first, step.images, step.index, step.remaining, self._looking.names
            )
            self._runs += 1
            if call is not None:
                call.run, call.inputs = self.run, self.latents.layout.values()
        if step.index != self.run.next_index:
            raise RefusalError(
                "the generation before this one ended before its last step, so its images were not verified; "
                "use one `with guard.attach(pipe)` block for each call that may be interrupted"
            )
        return self.run

    def _check_and_push(self, run: Run, step: DenoisingStep) -> None:
        """One check of the clean estimates, and a push of those that the policies want to be pushed."""
        raw = step.clean().to(self.scorer.device)
        check = self._looking.at(run, step.index, step.noise_level, raw, run.due(step.index))
        if not self._aborts(run, step):
            self._looking.push(run, step, raw, check, self.latents.space)

    def _aborts(self, run: Run, step: DenoisingStep) -> bool:
        """Abort the run if every image of it is hopeless: have the pipeline skip the rest of its loop, or its cost.

        Nothing rests on whether the pipeline does: an aborted run hands out neutral latents only.
        """
        if not run.may_abort:
            return False
        run.aborted_at = step.index
        if hasattr(self.pipe, "_interrupt"):
            self.pipe._interrupt = True
        elif self.gate.call is not None:
            self._rest.enter_context(resting(self.pipe))
        self._looking.note_abort(run)
        return True

    def _after(self, call: Call | None, step: DenoisingStep, run: Run, output: Any) -> Any:
        """What the step returns: after the last one, with the latents of masked images replaced."""
        run.next_index += 1
        run.steps += 1
        step.restore_memory()
        if run.aborted_at is not None:
            output = step.blank(torch.ones(run.images, dtype=torch.bool), output)
            if run.aborted_at == step.index:
                self._finish(call, run, self._looking.outcome(run), output)
            return output
        if not step.is_last:
            return step.without_estimates(output) if self._looking.masks else output
        raw, noise_level = step.final(output)
        outcome = self._looking.judged(run, step.index, noise_level, raw)
        if call is not None and call.masked is not None:  # in an earlier section
            outcome.masked.logical_or_(call.masked)
        if outcome.masked.any():
            output = step.blank(outcome.masked, output)
        self.run = None
        run.finals = raw if run.planned == 1 and raw.isfinite().all() else None
        self._finish(call, run, outcome, output, noise_level)
        return output

    def _finish(self, call: Call | None, run: Run, outcome: Outcome, output: Any, noise_level: float = 0.0) -> None:
        """Keep the run's verdicts, and have the gate know what may be handed out."""
        new = [replace(verdict, gate=self.watched) for verdict in outcome.verdicts]
        earlier = self.verdicts[run.first_image :]
        run.verdicts = [of_sections(*both) for both in zip(earlier, new, strict=True)] if earlier else new
        self.verdicts[run.first_image :] = run.verdicts
        self.gate.finish(call, run, outcome.masked, output, noise_level)
        if call is None:
            self._tell()
        self._raise_if_asked(outcome.verdicts, outcome.masked)

    def _judged_again(self, run: Run, raw: Tensor, fresh: list[int], left: bool) -> Tensor:
        """Judge final raw latents (B, C, H, W) of a run that is over, of which those ``fresh`` are others than before.

        The verdicts are on what is handed out: of what is as it was, they are those of the last check. An image that
        ``left`` before as a flagged one stays that.
        """
        masked = torch.zeros(run.images, dtype=torch.bool)
        verdicts = list(run.verdicts)
        if fresh:
            with self._guarded(self.gate.call, run.images):
                outcome = self._looking.judged(run, run.last_check.step, 0.0, raw)
                for image in fresh:
                    verdicts[image] = replace(outcome.verdicts[image], gate=self.watched)
                    masked[image] = outcome.masked[image]
                if run.finals is not None:
                    run.finals = raw if raw.isfinite().all() else None
        if self.gate.call is None or not self.gate.call.bypassed:
            own = slice(run.first_image, run.first_image + run.images)
            before = self.verdicts[own] if left else verdicts
            keep = worse if self.latents.layout.family.sections else _flag_kept
            self.verdicts[own] = map(keep, before, verdicts)
        if fresh and self.gate.call is None and self._on_verdicts is not None:  # it knows of their first verdicts
            self._on_verdicts([self.verdicts[run.first_image + image] for image in fresh])
        self._raise_if_asked(verdicts, masked)
        return masked

    def _judged_alone(self, raw: Tensor) -> Tensor:
        """Which latents (B, C, H, W) that are no images of a call are masked (B,): their preview would show it."""
        masked = torch.zeros(len(raw), dtype=torch.bool)
        call = self.gate.call
        images = len(raw) if call is None or call.run is None else call.run.images  # all go on unguarded if this fails
        with self._guarded(call, images):
            masked = self._looking.masked_alone(raw)
        return masked

    def _raise_if_asked(self, verdicts: list[Verdict], masked: Tensor) -> None:
        if self._on_block == "raise" and masked.any():
            raise blocked(verdicts)

    def _tell(self) -> None:
        """Have the new verdicts written down, before their images are handed out."""
        new = self.verdicts[self._told :]
        self._told = len(self.verdicts)
        if self._on_verdicts is not None and new:
            self._on_verdicts(new)


def _flag_kept(before: Verdict, now: Verdict) -> Verdict:
    return before if before.decision is Decision.FLAGGED and now.decision.safe else now
