"""A guard is in force once it has judged an image: what it says of itself is what ran."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from latent_guard.errors import InputError, reason_of
from latent_guard.guidance.verdict import Decision
from latent_guard.serving.generation import Generation, quiet, shown_by
from latent_guard.serving.in_force import InForce, posture_of
from latent_guard.serving.jobs import Shape
from latent_guard.serving.settings import sides_of

if TYPE_CHECKING:
    from latent_guard.guidance.guard import GuardedOutput, LatentGuard
    from latent_guard.guidance.verdict import Verdict

_LOGGER = logging.getLogger(__name__)
_PROMPTS = ("a photo of a landscape", "a drawing of a house")
Draw = Callable[[Sequence[str], Sequence[int]], "GuardedOutput"]


def warmed_up(generation: Generation, guard: LatentGuard, shape: Shape, max_batch: int) -> tuple[InForce, str]:
    """Draw images, of which no log or tracer hears: the guard in force, and the size of an image, "WIDTHxHEIGHT".

    Requests are to be drawn together if that is tried out here and changes no bit. Where a policy aborts hopeless runs
    they are not: a run ends early once all its images are hopeless, so each would depend on its neighbours.

    Raises:
        GuardError: the image was not judged.
        Exception: whatever the pipeline raises; models compute batches as before then.
    """
    before = generation.shape.images
    try:
        return _warmed_up(generation, guard, shape, max_batch)
    except Exception:
        generation.shape.fix(before)
        raise


def require_sizes(generation: Generation, guard: LatentGuard, steps: int, sizes: Sequence[str]) -> None:
    """Draw an image of each size, in the order given.

    Raises:
        InputError: the pipeline or the guard refuses one, or it comes out as another.
    """
    for size in sizes:
        try:
            drawn = generation.generate(quiet(guard), _PROMPTS[:1], [0], Shape(steps, sides_of(size)))
        except Exception as error:  # pipelines have many ways to say no
            raise InputError(f"images of size {size} cannot be drawn ({reason_of(error)}); leave it out") from error
        if drawn.images[0].size != sides_of(size) or drawn.verdicts[0].decision is Decision.UNCHECKED:
            raise InputError(f"images asked for in size {size} come out in another, or unchecked; leave it out")


def _warmed_up(generation: Generation, guard: LatentGuard, shape: Shape, max_batch: int) -> tuple[InForce, str]:
    own = quiet(guard) if generation.review is None else shown_by(guard)

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> GuardedOutput:
        return generation.generate(own, prompts, seeds, shape)

    generation.shape.fix(None)
    first = draw(_PROMPTS[:1], [0])
    posture = posture_of(guard, first, shape.steps)
    generation.shape.learn()
    together = 1
    if max_batch > 1 and not _aborts(own):
        generation.shape.fix(max_batch)
        if _is_equal_together(draw):
            together = max_batch
        else:
            generation.shape.fix(None)
            _LOGGER.warning("images drawn together are not those drawn alone, so requests are drawn one by one")
    width, height = first.images[0].size
    return InForce(guard, {**posture, "drawn_together": together}, together), f"{width}x{height}"


def _aborts(guard: LatentGuard) -> bool:
    policies = guard.policies
    each = [policies[category] for category in guard.bank.categories]
    return any(policy.abort_margin is not None and (policy.block or policy.retries) for policy in each)


def _is_equal_together(draw: Draw) -> bool:
    together = draw(_PROMPTS, range(len(_PROMPTS)))
    for number, prompt in enumerate(_PROMPTS):
        alone = draw([prompt], [number])
        same = alone.images[0].tobytes() == together.images[number].tobytes()
        if not same or _content(alone.verdicts[0]) != _content(together.verdicts[number]):
            return False
    return True


def _content(verdict: Verdict) -> dict[str, Any]:
    """All that a verdict says, but for its place in the batch and the time that it took."""
    said = verdict.to_dict()
    del said["image"], said["cost"]["seconds"]
    return said
