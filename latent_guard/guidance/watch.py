"""The guard at work inside a pipeline: look, push, and judge the final latents, all within `scheduler.step`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from latent_guard.errors import GuardError
from latent_guard.guidance.conclusion import Conclusion, acting
from latent_guard.guidance.failing import OnError, Opening, Place, blocked, failing_closed, let_through
from latent_guard.guidance.hook import around, around_step
from latent_guard.guidance.pipeline_latents import PipelineLatents
from latent_guard.guidance.pipelines import last_step
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.predictions import StepState
from latent_guard.guidance.prompt_side import scores_if_asked
from latent_guard.guidance.renoising import pushed_finals
from latent_guard.guidance.rules import Rules
from latent_guard.guidance.run import Look, Names, Run
from latent_guard.guidance.schedulers import read_step
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.steering import push_away
from latent_guard.guidance.verdict import PromptScore, Verdict
from latent_guard.guidance.withholding import without, without_estimates

OnBlock = Literal["neutral", "raise"]


class Watch:
    """What happened to the images of the pipeline calls inside one `with guard.attach(pipe) as watch` block.

    `verdicts` has one entry an image, `looks` one a look, over all calls. A withheld image's final latent is seen by
    nobody. A callback on an earlier step sees that step's latents, which are hardly noisy near the end: what a preview
    shows before the verdict is not withheld.
    """

    def __init__(
        self,
        pipe: Any,
        scorer: Scorer,
        latents: PipelineLatents,
        policies: Policies,
        on_block: OnBlock,
        on_error: OnError,
    ) -> None:
        self.policies = policies
        self.attempt: int | None = None  # of those that `generate` makes; None: there are no restarts
        self.on_verdicts: Callable[[list[Verdict]], None] | None = None  # told before the images are handed out
        self.planned = 0  # steps of the latest call, were it not given up
        self.verdicts: list[Verdict] = []
        self.looks: list[Look] = []
        self._pipe, self._scorer, self._latents = pipe, scorer, latents
        self._on_block, self._on_error = on_block, on_error
        self._rules = Rules.of(policies, scorer.categories)
        self._names = Names(scorer.categories, scorer.concepts)
        self._run: Run | None = None
        self._runs = 0
        self._finals: Tensor | None = None  # raw, of the latest run if that had one step only
        self._instead: Tensor | None = None  # raw clean estimates for the next step to go on from
        self._opening = Opening()

    @contextmanager
    def installed(self) -> Iterator[Watch]:
        """The block in which the pipeline is guarded; everything is as it was afterwards."""
        self._scheduler = self._pipe.scheduler
        try:
            with (
                around_step(self._scheduler, self._step),
                around(self._pipe, "maybe_free_model_hooks", self._handing_out),
                self._latents.layout.following(),
            ):
                yield self
            self.require_verified()
        except BaseException:
            # A pipeline that stops in mid-call leaves its models where they are: offload them.
            self._pipe.maybe_free_model_hooks()
            raise

    def read(self, prompts: list[str]) -> list[PromptScore | None]:
        """What each prompt's text scores, if the policy asks for it; it changes nothing."""
        return scores_if_asked(self._scorer, prompts, self.policies.prompt_trigger, self._on_error)

    def require_verified(self) -> None:
        """Raise `GuardError` if a generation went past the guard, or ended before its final latents were scored."""
        if self._pipe.scheduler is not self._scheduler:
            raise GuardError("pipe.scheduler was replaced inside the guarded block; set it before attaching the guard")
        if self._run is not None and self._run.abandoned_at is None:
            raise GuardError("the generation ended before its last step: its images were not verified, discard them")

    def _handing_out(self, pipe: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        """What every pipeline does last: an unverified image must not even reach the caller's own block."""
        freed = original(*call.args, **call.kwargs)
        self.require_verified()
        return freed

    def _step(self, scheduler: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        try:
            # Read before the scheduler moves on, and only where somebody asked for an opening.
            place = Place.of(self._pipe, call.arguments["timestep"]) if self._on_error == "open" else None
            guarded: tuple[StepState, Run] | None = None
            if not self._opening.stands_aside(place):
                with self._failing(call, place):
                    guarded = self._before(scheduler, call)
            output = original(*call.args, **call.kwargs)
            if guarded is not None:
                with self._failing(call, place):
                    return self._judged(*guarded, scheduler, call.arguments, output)
            return output
        except BaseException:
            self._run = None
            raise

    @contextmanager
    def _failing(self, call: inspect.BoundArguments, place: Place | None) -> Iterator[None]:
        """The guard's own work: its failure ends the generation, or, if the caller asked for that, the guarding."""
        try:
            with failing_closed():
                yield
        except GuardError as error:
            if self._on_error != "open":
                raise
            if self._run is not None:
                del self.verdicts[self._run.first_image :]
            self._run = None
            self._opening.begin(place)
            self._write_down(let_through(error, len(self.verdicts), len(call.arguments["sample"])))

    def _before(self, scheduler: Any, call: inspect.BoundArguments) -> tuple[StepState, Run]:
        """Look at the clean estimate, and put a guided model output into the call if an image is to be steered."""
        state = read_step(scheduler, **{k: v for k, v in call.arguments.items() if k != "self"})
        state = replace(state, is_last=state.index == last_step(self._pipe))
        run = self._run_at(state, len(call.arguments["sample"]))
        if self._instead is not None:
            given, self._instead = self._instead, None
            call.arguments["model_output"] = self._latents.model_output(
                state, call.arguments, list(range(len(given))), given
            )
        elif run.abandoned_at is None and self._rules.looks_at(state.noise_level) and run.wanted(state.index):
            call.arguments["model_output"] = self._guided(run, state, call.arguments)
        return state, run

    def _run_at(self, state: StepState, images: int) -> Run:
        # The pipeline's call resets `_interrupt`, so an abandoned run that is no longer interrupted is over.
        if self._run is None or (self._run.abandoned_at is not None and not self._pipe._interrupt):
            self.planned = last_step(self._pipe) + 1 - state.index
            self._run = Run(self._runs, len(self.verdicts), images, state.index, self.planned, self._names)
            self._runs += 1
        if state.index != self._run.next_index:
            raise GuardError(
                "the generation before this one ended before its last step, so its images were not verified; "
                "use one `with guard.attach(pipe)` block for each call that may be interrupted"
            )
        return self._run

    def _guided(self, run: Run, state: StepState, call: dict[str, Any]) -> Tensor:
        """The model output to go on with: the very same tensor if no image is touched."""
        output: Tensor = call["model_output"]
        raw = self._latents.raw_estimate(state, call).to(self._scorer.device)
        look = self._look(run, state.index, state.noise_level, raw, run.wanted(state.index))
        if self._abandons(run, state):
            return output
        run.note_insisting(self._rules.insisting(look.excess, run.pushes, state.noise_level))
        to_push = self._rules.to_push(look.excess, run.pushes, state.noise_level)
        if not to_push or run.planned == 1:  # nothing would correct the only estimate that there is
            return output
        run.note("push", to_push)
        run.unpushed = list(to_push), raw[list(to_push)]
        pushed = raw.clone()
        scores = partial(self._scorer.scores, noise_level=state.noise_level)
        for policy, rows in self._rules.by_policy(to_push).items():
            pushed[rows] = push_away(raw[rows], scores, [to_push[row] for row in rows], policy)
        return self._latents.model_output(state, call, list(to_push), pushed[list(to_push)])

    def _look(
        self, run: Run, step: int, noise_level: float, raw: Tensor, images: list[int], *, final: bool = False
    ) -> Look:
        """Score some of a run's images, and take note of what was seen."""
        seen, nearest = self._scorer.look(raw if len(images) == run.images else raw[images], noise_level)
        thresholds = self._rules.thresholds(self._scorer.thresholds(noise_level), run.pushes, final=final)
        scores = torch.full_like(thresholds, torch.nan)
        rows = torch.zeros_like(thresholds, dtype=torch.long)
        scores[images], rows[images] = seen, nearest
        look = Look(run.number, step, noise_level, scores, thresholds, rows)
        run.saw(look, images, self._rules.abort_margins(self.attempt), self.policies.looking)
        self.looks.append(look)
        return look

    def _judged(self, state: StepState, run: Run, scheduler: Any, call: dict[str, Any], output: Any) -> Any:
        """What the step returns: after the last one, with the latents of withheld images replaced."""
        run.next_index += 1
        run.steps += 1
        if run.unpushed is not None:
            self._latents.forget_pushes(scheduler, *run.unpushed)
            run.unpushed = None
        if run.abandoned_at is not None:
            if run.abandoned_at == state.index:
                self._conclude(run)
            return without(torch.ones(run.images, dtype=torch.bool), self._latents, scheduler, output)
        if not state.is_last:
            may_withhold = any(self._rules.withholding(self.attempt))
            return without_estimates(self._latents, output) if may_withhold else output
        raw, noise_level = self._latents.raw_final(state, len(scheduler.timesteps), call, output)
        self._look(run, state.index, noise_level, raw.to(self._scorer.device), list(range(run.images)), final=True)
        withheld = self._conclude(run)
        self._run, self._finals = None, raw if run.planned == 1 and raw.isfinite().all() else None
        return without(withheld, self._latents, scheduler, output) if withheld.any() else output

    def _conclude(self, run: Run) -> Tensor:
        """Write the run's verdicts; which images (B,) are withheld."""
        done = Conclusion.of(run, self._rules, self.attempt)
        self._write_down(done.verdicts)
        if self._on_block == "raise" and done.withheld.any():
            raise blocked(done.verdicts)
        return done.withheld

    def _write_down(self, verdicts: list[Verdict]) -> None:
        self.verdicts += verdicts
        if self.on_verdicts is not None:
            self.on_verdicts(verdicts)

    def renoise(self, blocked: Mapping[int, str]) -> bool:
        """Have the next call's first step go on from final latents of the latest call, pushed, not from its own.

        `blocked` maps places in the latest call, the images of the next, to the categories that withheld them. False,
        and nothing is changed, unless the latest call had a single step and all these categories steer.
        """
        if self._finals is None or not all(self.policies[category].steer for category in blocked.values()):
            return False
        pushed = pushed_finals(self._scorer, self.policies, self._finals, blocked, self._on_error)
        if pushed is None:
            return False
        self._finals, self._instead = None, pushed
        return True

    def _abandons(self, run: Run, state: StepState) -> bool:
        """Give the run up if every image of it is lost, and have the pipeline skip the rest of its loop.

        Nothing rests on the pipeline's obedience: an abandoned run hands out neutral latents only.
        """
        if not (run.is_lost and hasattr(self._pipe, "_interrupt")):
            return False
        run.abandoned_at, self._pipe._interrupt = state.index, True
        everything = torch.ones(run.images, dtype=torch.bool)
        run.note("abandon", dict(enumerate(acting(run, self._rules, self.attempt, everything))))
        return True
