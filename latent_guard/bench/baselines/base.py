"""What every method of a comparison is, and what it gives."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from latent_guard.bench.arrays import Bools, Pictures
from latent_guard.bench.decoding import decode, unpacked
from latent_guard.errors import InputError
from latent_guard.guidance.run import Check
from latent_guard.guidance.verdict import Verdict
from latent_guard.pipelines.vae import MID_GRAY


@dataclass(frozen=True, eq=False)
class Generated:
    """B images of one call.

    Attributes:
        latents: (B, C, h, w), as the pipeline returned them; None where only pixels exist.
        pictures: (B, 3, H, W); a blocked image's is neutral gray.
        blocked: (B,), the image is withheld.
        touched: (B,), the method changed the image, ran it again or withheld it.
        evaluations: rows that the denoiser computed, an image.
        verdicts: B of Latent Guard's, none of any other method.
        checks: what Latent Guard saw on the way, where it only checked.
    """

    latents: Tensor | None
    pictures: Pictures
    blocked: Bools
    touched: Bools
    evaluations: float
    verdicts: tuple[Verdict, ...] = ()
    checks: tuple[Check, ...] = ()


class Baseline(Protocol):
    """A way of generating; its images are those of the pipeline alone wherever the method says it does not act."""

    @property
    def name(self) -> str:
        """The method with every setting that is not its default, as it is recorded: ``sld(strong)``."""
        ...

    def check(self, pipe: Any, guidance_scale: float | None, steps: int) -> None:
        """Raise before anything runs where the method cannot work with a call of so many steps at this scale.

        No scale means the pipeline's own default.
        """
        ...

    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt; ``arguments`` are the call's, with a generator an image, or one for all."""
        ...


def require_guidance(method: str, pipe: Any, guidance_scale: float | None) -> None:
    """Raise InputError unless the pipeline's call runs with classifier-free guidance: a scale above 1.

    Without it nothing is predicted for a second text (Ho & Salimans 2022), and the method would do nothing.
    """
    parameters = inspect.signature(type(pipe).__call__).parameters
    if "negative_prompt" not in parameters:
        raise InputError(f"{method}: {type(pipe).__name__} takes no negative prompt; use a pipeline that does")
    scale = parameters["guidance_scale"].default if guidance_scale is None else guidance_scale
    if not scale > 1:
        raise InputError(
            f"{method} needs classifier-free guidance, and a guidance scale of {scale:g} has none; "
            "use a scale above 1, or leave this method out"
        )


def require_stable_diffusion(method: str, pipe: Any) -> None:
    """Raise InputError for a pipeline that is not built as Stable Diffusion 1 and 2 are."""
    if type(pipe).__name__ != "StableDiffusionPipeline":
        raise InputError(
            f"{method} works with a StableDiffusionPipeline, not with a {type(pipe).__name__}; leave it out"
        )


def finished(
    pipe: Any,
    latents: Tensor,
    rows: int,
    touched: Bools,
    blocked: Bools | None = None,
    verdicts: Sequence[Verdict] = (),
) -> Generated:
    """Decode a call's latents; ``rows`` is what the denoiser computed for all of them."""
    withheld = none_of(len(latents)) if blocked is None else blocked
    pictures = decode(pipe, latents)[1]
    return Generated(latents, grayed(pictures, withheld), withheld, touched, rows / len(latents), tuple(verdicts))


def joined(calls: Sequence[Generated]) -> Generated:
    """The images of several calls, in order."""
    if len(calls) == 1:
        return calls[0]
    latents = [made.latents for made in calls if made.latents is not None]
    sizes = [len(made.pictures) for made in calls]
    return Generated(
        latents=torch.cat(latents) if len(latents) == len(calls) else None,
        pictures=np.concatenate([made.pictures for made in calls]),
        blocked=np.concatenate([made.blocked for made in calls]),
        touched=np.concatenate([made.touched for made in calls]),
        evaluations=float(np.average([made.evaluations for made in calls], weights=sizes)),
        verdicts=tuple(verdict for made in calls for verdict in made.verdicts),
        checks=tuple(_of_all(checks) for checks in zip(*(made.checks for made in calls), strict=True)),
    )


def _of_all(checks: Sequence[Check]) -> Check:
    """The same check of the images of several calls."""
    return replace(
        checks[0],
        scores=torch.cat([check.scores for check in checks]),
        thresholds=torch.cat([check.thresholds for check in checks]),
        nearest=torch.cat([check.nearest for check in checks]),
    )


def latents_of_call(pipe: Any, prompts: Sequence[str], arguments: dict[str, Any], **changes: Any) -> Tensor:
    """The latents (B, C, h, w) of the pipeline's own call."""
    own = {**arguments, **changes, "output_type": "latent"}
    return unpacked(pipe, pipe(list(prompts), **own).images, own)


def grayed(pictures: Pictures, blocked: Bools) -> Pictures:
    """The pictures with neutral gray in the place of the blocked ones."""
    shown: Pictures = pictures.copy()
    shown[blocked] = MID_GRAY
    return shown


def none_of(images: int) -> Bools:
    """(B,), all false."""
    return np.zeros(images, dtype=bool)


def all_of(images: int) -> Bools:
    """(B,), all true."""
    return np.ones(images, dtype=bool)


def in_bools(flags: Tensor | Sequence[bool]) -> Bools:
    """(B,) as an array."""
    return torch.as_tensor(flags).cpu().numpy().astype(bool)
