"""The guard at work inside a pipeline: look, push, and judge the final latents, all within `scheduler.step`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from latent_guard.errors import BlockedError, GuardError, LatentGuardError
from latent_guard.guidance.hook import around_step
from latent_guard.guidance.layouts import PlainLayout
from latent_guard.guidance.policy import Policy
from latent_guard.guidance.predictions import StepState, read_step
from latent_guard.guidance.run import Look, Run
from latent_guard.guidance.scoring import Scorer, unsafe
from latent_guard.guidance.steering import push
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.latent_clip.latent_space import LatentSpace

OnBlock = Literal["neutral", "raise"]
LOOKS_TO_ABANDON = 2


class Watch:
    """What happened to the images of the pipeline calls inside one `with guard.attach(pipe) as watch` block.

    `verdicts` has one entry an image, `looks` one a look, over all calls. A callback on an earlier step
    still sees the noisy latents of that step; a withheld image's final latent is seen by nobody.
    """

    def __init__(
        self,
        pipe: Any,
        scorer: Scorer,
        space: LatentSpace,
        layout: PlainLayout,
        neutral: Tensor,
        policy: Policy,
        on_block: OnBlock,
    ) -> None:
        self.policy = policy
        self.withholds = policy.block
        self.verdicts: list[Verdict] = []
        self.looks: list[Look] = []
        self._pipe, self._scorer, self._space, self._layout = pipe, scorer, space, layout
        self._neutral, self._on_block = neutral, on_block
        self._run: Run | None = None
        self._runs = 0

    @contextmanager
    def installed(self) -> Iterator[Watch]:
        """The block in which the pipeline is guarded; everything is as it was afterwards."""
        self._scheduler = self._pipe.scheduler
        try:
            with around_step(self._scheduler, self._step):
                yield self
            self.require_verified()
        except BaseException:
            # A pipeline that stops in mid-call leaves its models where they are: offload them.
            self._pipe.maybe_free_model_hooks()
            raise

    def require_verified(self) -> None:
        """Raise `GuardError` if a generation went past the guard, or ended before its final latents were scored."""
        if self._pipe.scheduler is not self._scheduler:
            raise GuardError("pipe.scheduler was replaced inside the guarded block; set it before attaching the guard")
        if self._run is not None and self._run.abandoned_at is None:
            raise GuardError("the generation ended before its last step: its images were not verified, discard them")

    def _step(self, scheduler: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
        try:
            with _failing_closed():
                state = read_step(scheduler, **{k: v for k, v in call.arguments.items() if k != "self"})
                run = self._run_at(state, len(call.arguments["sample"]))
                if run.abandoned_at is None and self.policy.looks_at(state.noise_level):
                    call.arguments["model_output"] = self._guided(run, state, call.arguments)
            output = original(*call.args, **call.kwargs)
            with _failing_closed():
                _forget_pushes(run, scheduler)
                return self._judged(run, state, scheduler, output)
        except BaseException:
            self._run = None
            raise

    def _run_at(self, state: StepState, images: int) -> Run:
        # The pipeline's call resets `_interrupt`, so an abandoned run that is no longer interrupted is over.
        if self._run is None or (self._run.abandoned_at is not None and not self._pipe._interrupt):
            self._run = Run(self._runs, len(self.verdicts), images, state.index)
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
        latents, sample = self._layout.unpack(output), self._layout.unpack(call["sample"])
        raw = self._space.to_raw(state.clean_estimate(latents, sample)).to(self._scorer.device)
        scores, thresholds = self._look(run, state.index, state.noise_level, raw)
        if self._abandons(run, state):
            return output
        excess, category = (scores - thresholds).max(dim=1)
        if not self.policy.steer:
            return output
        over = torch.isfinite(scores).all(dim=1) & (excess > 0)
        patient = (run.pushes < self.policy.most_pushes).to(over.device)
        run.insists |= (over & ~patient).cpu()
        rows = (over & patient).nonzero().flatten()
        if len(rows) == 0:
            return output
        run.note("push", rows.tolist(), state, self._scorer.categories)
        pushed = self._pushed(raw[rows], category[rows], state.noise_level)
        rows = rows.to(latents.device)
        clean = self._space.from_raw(pushed.to(latents.device))
        run.own_estimates = rows, self._space.from_raw(raw.to(latents.device)[rows])
        guided = latents.clone()
        guided[rows] = state.model_output_for(clean, sample[rows]).to(latents.dtype)
        return self._layout.pack(guided)

    def _look(self, run: Run, step: int, noise_level: float, raw: Tensor, doubt: float = 0.0) -> tuple[Tensor, Tensor]:
        """Scores and thresholds, (B, K) each; those of pushed images are stricter by `doubt` for each push."""
        scores = self._scorer.scores(raw, noise_level)
        doubts = doubt * run.pushes.to(scores)
        thresholds = self._scorer.thresholds(noise_level) - doubts[:, None]
        run.saw(scores, thresholds, self.policy)
        self.looks.append(Look(run.number, step, noise_level, scores.cpu()))
        return scores, thresholds

    def _pushed(self, raw: Tensor, category: Tensor, noise_level: float) -> Tensor:
        def score(latents: Tensor) -> Tensor:
            return self._scorer.scores(latents, noise_level).gather(1, category[:, None]).squeeze(1)

        policy = self.policy
        return push(
            raw,
            score,
            strength=policy.strength,
            augmentations=policy.augmentations,
            augmentation_noise=policy.augmentation_noise,
        )

    def _judged(self, run: Run, state: StepState, scheduler: Any, output: Any) -> Any:
        """What the step returns: after the last one, with the latents of withheld images replaced."""
        run.next_index += 1
        run.steps += 1
        everything = torch.ones(run.images, dtype=torch.bool)
        if run.abandoned_at is not None:
            if run.abandoned_at == state.index:
                self._conclude(run, everything)
            return self._without(everything, scheduler, output)
        if not state.is_last:
            return output
        raw = self._space.to_raw(self._layout.unpack(output[0]).float()).to(self._scorer.device)
        scores, thresholds = self._look(run, state.index, 0.0, raw, self.policy.doubt)
        withheld = self._conclude(run, unsafe(scores, thresholds).cpu() | run.unreadable | run.insists)
        self._run = None
        return self._without(withheld, scheduler, output) if withheld.any() else output

    def _conclude(self, run: Run, found_unsafe: Tensor) -> Tensor:
        """Write the run's verdicts; which images (B,) are withheld."""
        # What cannot be read cannot be steered either, so it never counts as dealt with.
        withheld = found_unsafe if self.withholds else run.unreadable & (not self.policy.only_flags)
        verdicts = run.verdicts(self._scorer.categories, found_unsafe, withheld)
        self.verdicts += verdicts
        if self._on_block == "raise" and withheld.any():
            raise BlockedError(_what_was_blocked([v for v in verdicts if v.decision is Decision.BLOCKED]))
        return withheld

    def _abandons(self, run: Run, state: StepState) -> bool:
        """Give the run up if every image of it is lost, and have the pipeline skip the rest of its loop.

        Nothing rests on the pipeline's obedience: an abandoned run hands out neutral latents only.
        """
        lost = bool((run.lost_looks >= LOOKS_TO_ABANDON).all())
        if not (lost and self.withholds and hasattr(self._pipe, "_interrupt")):
            return False
        run.abandoned_at, self._pipe._interrupt = state.index, True
        run.note("abandon", range(run.images), state, self._scorer.categories)
        return True

    def _without(self, withheld: Tensor, scheduler: Any, output: Any) -> Any:
        """A step's output, and the scheduler's own memory of it, without the withheld images."""
        shape = output[0].shape

        def blank(value: Any) -> Any:
            if not isinstance(value, Tensor) or value.shape != shape:
                return value
            latents = self._layout.unpack(value).clone()
            latents[withheld.to(latents.device)] = self._neutral.to(latents)
            return self._layout.pack(latents)

        if hasattr(scheduler, "model_outputs"):  # the history of a multistep solver
            scheduler.model_outputs = [blank(value) for value in scheduler.model_outputs]
        if isinstance(output, tuple):
            return tuple(blank(value) for value in output)
        return type(output)(**{name: blank(value) for name, value in output.items()})


def _forget_pushes(run: Run, scheduler: Any) -> None:
    """Have a multistep solver remember what the model said of the images that were just pushed.

    It extrapolates from its last estimates: a remembered push would be taken for a trend, and half undone.
    """
    if run.own_estimates is None:
        return
    rows, own = run.own_estimates
    run.own_estimates = None
    history = getattr(scheduler, "model_outputs", None)
    if history:
        remembered = history[-1].clone()
        remembered[rows] = own.to(remembered)
        history[-1] = remembered


@contextmanager
def _failing_closed() -> Iterator[None]:
    """Plain tensors without gradients inside; any failure becomes a `GuardError`."""
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    except LatentGuardError:
        raise
    except Exception as error:
        raise GuardError(
            f"the guard failed and stopped the generation ({type(error).__name__}: {error}); no image was handed out"
        ) from error


def _what_was_blocked(verdicts: list[Verdict]) -> str:
    parts = [
        f"image {v.image} ({v.category}: {v.scores[v.category]:.2f} over {v.thresholds[v.category]:.2f})"
        for v in verdicts
        if v.category is not None
    ]
    return f"withheld {', '.join(parts)}; change the prompt or the seed"
