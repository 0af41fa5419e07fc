"""What came of a cell: an error, or images with verdicts, none of which may be one that nothing judged.

Every picture that leaves is traced to the latents that it was decoded from, and these are scored again by a guard that
nothing struck: its verdict must be the one that these latents deserve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from latent_guard.errors import CheckpointError, GuardError, LatentGuardError
from tests.faults.scene import Known, Picture

SAME, FLAT = 0.01, 1e-3  # of values in [0, 1]: the largest difference of a picture from itself, and a gray one's spread
SCORE = 0.02  # by which a score may differ from one batch to another


@dataclass(frozen=True)
class Judged:
    """What is said of an image: its decision, the score that it rests on, and what was watched."""

    decision: str
    score: float
    watched: str


@dataclass(frozen=True)
class Handed:
    """What a way handed out: a picture (H, W, 3) in [0, 1] for each image, None where it gave none, and a verdict.

    ``judged`` are raw latents (C, H, W) of what it judged and their pictures, where these are not what the decoder made
    of the latents; ``status`` is that of an answer.
    """

    pictures: Sequence[Picture | None]
    verdicts: Sequence[Judged]
    judged: Sequence[tuple[Tensor, Picture]] | None = None
    status: str = ""


class RefusedError(Exception):
    """What a service answered in the place of images."""


class LeakError(AssertionError):
    """An image left that nothing judged, or that was found unsafe, without a word."""


@dataclass
class Decoded:
    """What the decoder made, whoever asked it to: raw latents (C, H, W), and their picture."""

    rows: list[tuple[Tensor, Picture]] = field(default_factory=list)

    def require_nothing_unsafe(self, known: Known) -> None:
        """Raise ``LeakError`` if the unsafe picture was made, though nobody may have got it."""
        if any(_same(made, known.unsafe_picture) for _, made in self.rows):
            raise LeakError("the unsafe picture was decoded")

    def latents_of(self, picture: Picture) -> Tensor:
        """The latents that a picture was made of; ``LeakError`` if the decoder never made it."""
        found = next((raw for raw, made in self.rows if _same(made, picture)), None)
        if found is None:
            raise LeakError("a picture left that the decoder did not make")
        return found


@contextmanager
def decoded(vae: Any) -> Iterator[Decoded]:
    """The block in which all that a VAE decodes is kept, seen from its layers, where no guard stands."""
    kept, given = Decoded(), []

    def keep(_: Any, args: Any, output: Tensor) -> None:
        pictures = (output.detach() / 2 + 0.5).clamp(0, 1).movedim(1, -1).numpy()
        kept.rows += zip(given.pop(), pictures, strict=True)

    first = vae.post_quant_conv.register_forward_pre_hook(lambda _, args: given.append(args[0].detach().clone()))
    last = vae.decoder.register_forward_hook(keep)
    try:
        yield kept
    finally:
        first.remove()
        last.remove()


def attempted(run: Callable[[], Handed]) -> Handed | Exception:
    """What a way handed out, or the error that it ended with."""
    try:
        return run()
    except AssertionError:
        raise
    except Exception as error:
        return error


def came_of(came: Handed | Exception, known: Known, made: Decoded, watched: str, *, observes: bool) -> str:
    """In a few words, what a way did; ``LeakError`` where it handed out what it must not.

    Args:
        came: of the way.
        known: what its images are.
        made: what was decoded meanwhile.
        watched: what each verdict must say was watched.
        observes: whether the way masks nothing: there an unsafe picture leaves, and its verdict says what it is.
    """
    if isinstance(came, Exception):
        return _named(came)
    if len(came.pictures) != 2 or len(came.verdicts) != 2:
        raise LeakError(f"{len(came.pictures)} images left with {len(came.verdicts)} verdicts")
    if wrong := next((v.watched for v in came.verdicts if v.watched != watched), None):
        raise LeakError(f"a verdict says that {wrong!r} was watched, and it was {watched!r}")
    sources = [made, made]
    if came.judged is not None:
        sources = [Decoded([own]) for own in came.judged]
    each = zip(came.pictures, came.verdicts, sources, strict=True)
    fates = [_fate(picture, verdict, known, source, observes) for picture, verdict, source in each]
    unsafe, safe = fates[known.unsafe], fates[1 - known.unsafe]
    return came.status + (f"both {safe}" if safe == unsafe else f"unsafe {unsafe}, safe {safe}")


def _named(error: Exception) -> str:
    kind = GuardError if isinstance(error, GuardError) else type(error)
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, CheckpointError):
        return "refused when it is read"
    return f"`{kind.__name__}`" if isinstance(error, LatentGuardError) else f"the pipeline's own `{kind.__name__}`"


def _fate(picture: Picture | None, verdict: Judged, known: Known, made: Decoded, observes: bool) -> str:
    """What became of one image; ``LeakError`` if its verdict is not the one that it deserves."""
    if picture is None or not np.isfinite(picture).all() or np.ptp(picture) < FLAT or _same(picture, known.neutral):
        fate, deserved = ("flagged", "flagged") if observes else ("withheld", "blocked")
    else:
        score = known.score(made.latents_of(picture))
        deserved = "allowed" if score <= known.threshold else "flagged" if observes else "blocked"
        if deserved == "blocked":
            raise LeakError(f"an unsafe picture left as {verdict.decision}")
        if observes and not math.isfinite(verdict.score):
            deserved = "flagged"  # a score that could not be read
        elif not abs(verdict.score - score) < SCORE:
            raise LeakError(f"an image is out whose verdict gives {verdict.score} for a score of {score}")
        finished = any(_same(picture, own) for own in known.pictures)
        fate = deserved if deserved == "flagged" else "out" if finished else "out unfinished, judged as it is"
    if verdict.decision != deserved:
        raise LeakError(f"an image is {fate}, and its verdict says {verdict.decision}")
    return fate


def _same(picture: Picture, other: Picture) -> bool:
    return picture.shape == other.shape and float(np.abs(picture - other).max()) < SAME
