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
from latent_guard.guidance.fail_open import OnError, RefusalError, blocked, failing_closed, let_through
from latent_guard.guidance.gate import NOT_VERIFIED, Call, Gate
from latent_guard.guidance.masking import without, without_estimates
from latent_guard.guidance.outcome import Conclusion, acting
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.prompt_score import scores_if_asked
from latent_guard.guidance.renoise import pushed_finals
from latent_guard.guidance.rules import Rules
from latent_guard.guidance.run import Look, Names, Run
from latent_guard.guidance.scoring import Scorer, over
from latent_guard.guidance.steering import push_away
from latent_guard.guidance.verdict import PromptScore, Verdict
from latent_guard.pipelines.families import first_step, last_step
from latent_guard.pipelines.hook import around, around_step
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.predictions import StepState
from latent_guard.pipelines.schedulers import read_step

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
        self.pipe = pipe
        self._scheduler, self._scorer, self._latents = pipe.scheduler, scorer, latents
        self._on_block, self._on_error = on_block, on_error
        self._rules = Rules.of(policies, scorer.categories)
        self._names = Names(scorer.categories, scorer.concepts)
        self._gate = Gate(pipe, latents, self._judged_again, self._judged_alone)
        self._decodes_here: Callable[[], bool] = lambda: True  # or has other code replaced `vae.decode`?
        self._run: Run | None = None
        self._runs = 0
        self._at_last_look: list[Verdict] = []  # of the latest run
        self._told = 0  # verdicts that `on_verdicts` knows of
        self._finals: Tensor | None = None  # raw, of the latest run if that had one step only
        self._instead: Tensor | None = None  # raw clean estimates for the next step to go on from

    @contextmanager
    def installed(self) -> Iterator[Watch]:
        """The block in which steps and decodes pass the guard; everything is as it was afterwards."""
        vae = self._gate.vae
        try:
            with around_step(self._scheduler, self._step), self._latents.layout.following():
                if vae is None:
                    yield self
                else:
                    with around(vae, "decode", self._gate.decoding, methods_only=False) as in_place:
                        self._decodes_here = in_place
                        yield self
            self._require_own_parts()
            if self._run is not None and self._run.abandoned_at is None:
                raise RefusalError(NOT_VERIFIED)
        except BaseException:
            # A pipeline that stops in mid-call leaves its models where they are: offload them.
            self.pipe.maybe_free_model_hooks()
            raise

    def call(self, pipe: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """One call of the pipeline: an unverified image must not even reach the caller's own block."""
        if pipe is not self.pipe:
            raise RefusalError("this is a copy of a guarded pipeline; attach the guard to the copy itself")
        call = self._gate.begin(arguments)
        try:
            self._require_own_parts()
            if self._run is not None:
                raise RefusalError(NOT_VERIFIED)
            output = self._gate.handing_out(call, original(*arguments.args, **arguments.kwargs))
            self._require_own_parts()
            if not self._decodes_here():
                raise RefusalError(
                    "vae.decode was replaced inside the guarded block; set it before attaching the guard"
                )
            return output
        finally:
            self._gate.call = self._run = None
            self._tell()

    def read(self, prompts: list[str]) -> list[PromptScore | None]:
        """What each prompt's text scores, if the policy asks for it; it changes nothing."""
        return scores_if_asked(self._scorer, prompts, self.policies.prompt_trigger, self._on_error)

    def _require_own_parts(self) -> None:
        """Raise `GuardError` if another scheduler or VAE is at work than the ones that are watched."""
        for name, own in (("scheduler", self._scheduler), ("vae", self._gate.vae)):
            if getattr(self.pipe, name) is not own:
                raise RefusalError(
                    f"pipe.{name} was replaced inside the guarded block; set it before attaching the guard"
                )

    def _step(self, scheduler: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        of_call = self._gate.of_this_thread()
        try:
            guarded: tuple[StepState, Run] | None = None
            if of_call is None or not of_call.is_open:
                with self._failing(of_call, len(call.arguments["sample"])):
                    guarded = self._before(of_call, scheduler, call)
            output = original(*call.args, **call.kwargs)
            if guarded is not None:
                with self._failing(of_call, guarded[1].images):
                    return self._after(of_call, *guarded, scheduler, call.arguments, output)
            return output
        except BaseException:
            self._run = None
            raise

    @contextmanager
    def _failing(self, call: Call | None, images: int) -> Iterator[None]:
        """The guard's own work: its failure ends the generation, or, if the caller asked for that, the guarding.

        Where a loop of somebody's own steps the scheduler, nobody knows which steps belong together, so it ends.
        """
        try:
            with failing_closed():
                yield
        except GuardError as error:
            if self._on_error != "open" or call is None or isinstance(error, RefusalError):
                raise
            first = len(self.verdicts) if call.run is None else call.run.first_image
            judged = self.verdicts[first:]
            withheld = call.judged.withheld.tolist() if call.judged is not None else [False] * images
            images = len(withheld)
            opened = let_through(error, first, images)
            self.verdicts[first:] = [
                judged[n] if withheld[n] else verdict for n, verdict in enumerate(opened)
            ]  # what was withheld before stays so
            self._run, call.is_open = None, True

    def _before(self, of_call: Call | None, scheduler: Any, call: inspect.BoundArguments) -> tuple[StepState, Run]:
        """Look at the clean estimate, and put a guided model output into the call if an image is to be steered."""
        first = first_step(self.pipe) if of_call is not None else None
        step_arguments = {k: v for k, v in call.arguments.items() if k != "self"}
        state = read_step(scheduler, first_index=first, **step_arguments)
        state = replace(state, is_last=state.index == last_step(self.pipe))
        run = self._run_at(of_call, state, len(call.arguments["sample"]))
        if self._instead is not None:
            given, self._instead = self._instead, None
            call.arguments["model_output"] = self._latents.model_output(
                state, call.arguments, list(range(len(given))), given
            )
        elif run.abandoned_at is None and self._rules.looks_at(state.noise_level) and run.wanted(state.index):
            call.arguments["model_output"] = self._guided(run, state, call.arguments)
        return state, run

    def _run_at(self, call: Call | None, state: StepState, images: int) -> Run:
        if call is not None and call.judged is not None:
            what = "given up" if self._run is not None else "judged"
            raise RefusalError(f"the pipeline made another step after its images were {what}; no image was handed out")
        of_loop = call is None and self._run is not None and self._run.abandoned_at is not None
        if self._run is None or (of_loop and state.index != self._run.next_index):
            self.planned = last_step(self.pipe) + 1 - state.index
            self._run = Run(self._runs, len(self.verdicts), images, state.index, self.planned, self._names)
            self._runs += 1
            if call is not None:
                call.run = self._run
        if state.index != self._run.next_index:
            raise RefusalError(
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
        seen = self._scorer.look(raw if len(images) == run.images else raw[images], noise_level)
        thresholds = self._rules.thresholds(self._scorer.thresholds(noise_level), run.pushes, final=final)
        look = Look.at(run.number, step, noise_level, images, seen, thresholds)
        run.saw(look, images, self._rules.abort_margins(self.attempt), self.policies.looking)
        self.looks.append(look)
        return look

    def _after(
        self, of_call: Call | None, state: StepState, run: Run, scheduler: Any, call: dict[str, Any], output: Any
    ) -> Any:
        """What the step returns: after the last one, with the latents of withheld images replaced."""
        run.next_index += 1
        run.steps += 1
        if run.unpushed is not None:
            self._latents.forget_pushes(scheduler, *run.unpushed)
            run.unpushed = None
        if run.abandoned_at is not None:
            everything = torch.ones(run.images, dtype=torch.bool)
            output = without(everything, self._latents, scheduler, output)
            if run.abandoned_at == state.index:
                self._conclude(of_call, run, Conclusion.of(run, self._rules, self.attempt), output)
            return output
        if not state.is_last:
            may_withhold = any(self._rules.withholding(self.attempt))
            return without_estimates(self._latents, output) if may_withhold else output
        raw, noise_level = self._latents.raw_final(state, len(scheduler.timesteps), call, output)
        self._look(run, state.index, noise_level, raw.to(self._scorer.device), list(range(run.images)), final=True)
        done = Conclusion.of(run, self._rules, self.attempt)
        if done.withheld.any():
            output = without(done.withheld, self._latents, scheduler, output)
        self._run, self._finals = None, raw if run.planned == 1 and raw.isfinite().all() else None
        self._conclude(of_call, run, done, output, noise_level)
        return output

    def _conclude(self, call: Call | None, run: Run, done: Conclusion, output: Any, noise_level: float = 0.0) -> None:
        """Write the run's verdicts, and have the gate know what may be handed out."""
        self.verdicts += done.verdicts
        self._at_last_look = done.verdicts
        self._gate.conclude(call, run, done.withheld, output, noise_level)
        if call is None:
            self._tell()
        self._raise_if_asked(done.verdicts, done.withheld)

    def _judged_again(self, run: Run, raw: Tensor, fresh: list[int]) -> Tensor:
        """Judge final raw latents (B, C, H, W) of a run that is over, of which those `fresh` are others than before.

        The verdicts are on what is handed out: of what is as it was, they are those of the last look.
        """
        withheld = torch.zeros(run.images, dtype=torch.bool)
        verdicts = list(self._at_last_look)
        if fresh:
            with self._failing(self._gate.call, run.images):
                step = run.last_look.step
                self._look(run, step, 0.0, raw.to(self._scorer.device), list(range(run.images)), final=True)
                done = Conclusion.of(run, self._rules, self.attempt)
                for image in fresh:
                    verdicts[image], withheld[image] = done.verdicts[image], done.withheld[image]
                if self._finals is not None:
                    self._finals = raw if raw.isfinite().all() else None
        if self._gate.call is None or not self._gate.call.is_open:
            self.verdicts[run.first_image : run.first_image + run.images] = verdicts
        self._raise_if_asked(verdicts, withheld)
        return withheld

    def _judged_alone(self, raw: Tensor) -> Tensor:
        """Which latents (B, C, H, W) that are no images of a call are withheld (B,): their preview would show it."""
        withheld = torch.zeros(len(raw), dtype=torch.bool)
        with self._failing(self._gate.call, len(raw)):
            seen, _ = self._scorer.look(raw.to(self._scorer.device), 0.0)
            limits = self._rules.thresholds(self._scorer.thresholds(0.0), withheld, final=True)
            withholding = torch.tensor(self._rules.withholding(self.attempt))
            withheld = (over(seen, limits) & withholding).any(dim=1)
        return withheld

    def _raise_if_asked(self, verdicts: list[Verdict], withheld: Tensor) -> None:
        if self._on_block == "raise" and withheld.any():
            raise blocked(verdicts)

    def _tell(self) -> None:
        """Have the new verdicts written down, before their images are handed out."""
        new, self._told = self.verdicts[self._told :], len(self.verdicts)
        if self.on_verdicts is not None and new:
            self.on_verdicts(new)

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
        if not (run.is_lost and hasattr(self.pipe, "_interrupt")):
            return False
        run.abandoned_at, self.pipe._interrupt = state.index, True
        everything = torch.ones(run.images, dtype=torch.bool)
        run.note("abandon", dict(enumerate(acting(run, self._rules, self.attempt, everything))))
        return True
